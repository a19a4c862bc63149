"""Secrets are taken out of texts, fields and command lines; names of ML stay.

Every token here is made up and put together from pieces, so that no scanner of this
repository takes it for a real one.
"""

import copy
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.redaction import REDACTED, Redactor, make_redactor
from mlog.secret_words import FILE, ORDINARY, STRONG, WEAK, Kind, kind_of, normal_name

MIX = "A1b2" * 9
"""36 letters and digits."""

BODY = "MIIEpAIBAAKCAQEA0Z3VS5JJcds3xfn/ygWyF8PbnGy"
JWT = "eyJ" + "hbGciOi" + "JIUzI1" + ".eyJzdWIiOiIx" + "MjM0In0." + MIX

TOKENS = {
    "AWS key id": "AKIA" + "IOSFODNN7EXAMPLE",
    "AWS temporary id": "ASIA" + "IOSFODNN7EXAMPLE",
    "GitHub personal": "ghp_" + MIX,
    "GitHub OAuth": "gho_" + MIX,
    "GitHub user": "ghu_" + MIX,
    "GitHub server": "ghs_" + MIX,
    "GitHub refresh": "ghr_" + MIX,
    "GitHub fine-grained": "github_pat_" + MIX + "_" + MIX,
    "GitLab": "glpat-" + MIX[:20],
    "Hugging Face": "hf_" + "AbCdEfGhIj" * 3 + "kLmN",
    "OpenAI": "sk-" + MIX + MIX[:12],
    "OpenAI project": "sk-proj-" + MIX + "_" + MIX,
    "Anthropic": "sk-ant-" + "api03-" + MIX + "-" + MIX,
    "Slack bot": "xoxb-" + "123456789012-" + MIX,
    "Slack user": "xoxp-" + "123456789012-" + MIX,
    "Google API key": "AIza" + "Sy" + MIX[:33],
    "JSON web token": JWT,
    "npm": "npm_" + MIX,
    "PyPI": "pypi-" + "AgEIcHlwaS5vcmc" + MIX,
    "SendGrid": "SG." + MIX[:22] + "." + MIX + MIX[:7],
    "Stripe": "sk_" + "live_" + MIX[:24],
    "Stripe restricted": "rk_" + "live_" + MIX[:24],
    "Databricks": "dapi" + "0123456789abcdef" * 2,
    "private key": "-----BEGIN RSA PRIVATE"
    + f" KEY-----\n{BODY}\n-----END RSA PRIVATE KEY-----",
    "private key in JSON": "-----BEGIN PRIVATE"
    + rf" KEY-----\n{BODY}\n-----END PRIVATE KEY-----\n",
    "private key, cut": "-----BEGIN EC PRIVATE" + f" KEY-----\n{BODY}\n{BODY[:20]}",
    "OpenSSH key": "-----BEGIN OPENSSH PRIVATE"
    + f" KEY-----\n{BODY}\n-----END OPENSSH PRIVATE KEY-----",
}
"""Hidden by their shape, wherever they stand."""

# Text with {} where the secret stands, and the secret.
NAMED = [
    ("password={}", "hunter2"),
    ("password = {}", "hunter2"),
    ("password: {}", "hunter2"),
    ("Password={};Encrypt=yes", "p4ss,w0rd"),
    ("db_password={}, user=bob", "hunter2"),
    ("PGPASSWORD={} psql", "123456"),
    ("passphrase: '{}'", "correct horse battery staple"),
    ('{{"secret": "{}"}}', "s3cret value"),
    ('{{"client_secret":"{}","x":1}}', r"with \" quote"),
    (r"{{\"clientSecret\": \"{}\"}}", "nested"),
    ("{{'api_key': '{}', 'lr': 0.1}}", "abc"),
    ('{{"api_keys": ["{}"]}}', 'one", "two'),
    ("Client(api_key='{}', timeout=3)", "abc"),
    ("Client(api_key=b'{}')", "abc"),
    ("settings(api_key={})", "abc"),
    ("api_key: {}", "abc"),
    ("api key: {}", "abc"),
    ("X-API-Key: {}", "abc"),
    ("secret access key = {}", "wJalr/XUt+nFEMI"),
    ("AWS_SECRET_ACCESS_KEY={}", "/Jalr/XUt+nFEMI"),
    ("export HF_TOKEN={}", "short"),
    ("hub_token={} seed=3", "short"),
    ("hub.token={}", "short"),
    ("push_to_hub_token={}", "short"),
    ("wandb_api_key={}", "0123456789abcdef0123456789abcdef01234567"),
    ("token={}", "0123456789abcdef0123456789abcdef01234567"),
    ('"token": "{}"', MIX),
    ("auth: {}", MIX),
    ("--password {} --lr 3", "hunter2"),
    ("--password={}", "hunter2"),
    ("--api-key '{}'", "two words"),
    ("--token {}", "short"),
    ("['train.py', '--password', '{}', '--lr', '3']", "hunter2"),
    ("Authorization: Bearer {}", "abc"),
    ("Authorization: Basic {}", "dXNlcjpwYXNz"),
    ("authorization: token {}", "abc"),
    ("{{'Authorization': '{}'}}", "Bearer abc"),
    ("Authorization: Digest {}", 'username="u", response="1234"'),
    ("sent Bearer {} to the server", MIX),
    ("Cookie: {}", "a=1; session=xyz"),
    ("Set-Cookie: {}", "session=xyz; Path=/"),
    ("https://h.example/x?api_key={}&page=2", "abc"),
    ("https://h.example/c?sv=2024&sig={}&se=1", "aB3%2F" * 6 + "%3D"),
    ("https://s3.example/o?X-Amz-Credential=***&X-Amz-Signature={}", "ab12" * 16),
    ("postgresql://bob:{}@db.example:5432/runs", "hunter2"),
    ("redis://:{}@cache.example/0", "p@ss"),
    ("mongodb+srv://bob:{}@db.example", "a/b"),
    ("https://x-access-token:{}@github.com/a/b.git", "abc"),
    ("AccountName=acme;AccountKey={};EndpointSuffix=x", "ab/c+d=="),
    ("Endpoint=sb://x/;SharedAccessKey={}", "ab/c+d="),
    ("https://hooks.slack.com/services/{}", "T00000000/B00000000/XXXX"),
    ("https://discord.com/api/webhooks/12345/{}", MIX),
    ("https://acme.webhook.office.com/webhookb2/{}", "12@34/IncomingWebhook/56/78"),
    ('password="{}', "the message was cut he"),
]

SECRET_FIELDS = """
    password passwd db_password PGPASSWORD userPassword admin_pass passphrase passcode
    password2 secret client_secret clientSecret AWS_SECRET_ACCESS_KEY aws_access_key_id
    api_key apiKey APIKEY x-api-key X-Api-Key wandb_api_key WANDB_API_KEY account_key
    AccountKey storage_key subscription_key ocp-apim-subscription-key private_key
    ssh_key signing_key encryption_key hf_token HF_TOKEN HFToken HUGGING_FACE_HUB_TOKEN
    hub_token push_to_hub_token access_token accessToken refresh_token auth_token
    session_token github_token GH_TOKEN SLACK_BOT_TOKEN slack.token
    mlflow_tracking_token sas_token csrf_token authorization Authorization
    proxy-authorization cookie
    Set-Cookie connection_string connectionString AZURE_STORAGE_CONNECTION_STRING
    webhook_url slack_webhook credentials aws_credentials basic_auth pwd
""".split()

# https://huggingface.co/docs/transformers/main_classes/trainer, releases 4.30 to 4.57.
TRAINING_ARGUMENTS = """
    output_dir overwrite_output_dir do_train do_eval do_predict eval_strategy
    evaluation_strategy prediction_loss_only per_device_train_batch_size
    per_device_eval_batch_size per_gpu_train_batch_size per_gpu_eval_batch_size
    gradient_accumulation_steps eval_accumulation_steps eval_delay
    torch_empty_cache_steps learning_rate weight_decay adam_beta1 adam_beta2
    adam_epsilon max_grad_norm num_train_epochs max_steps lr_scheduler_type
    lr_scheduler_kwargs warmup_ratio warmup_steps log_level log_level_replica
    log_on_each_node logging_dir logging_strategy logging_first_step logging_steps
    logging_nan_inf_filter save_strategy save_steps save_total_limit save_safetensors
    save_on_each_node save_only_model restore_callback_states_from_checkpoint no_cuda
    use_cpu use_mps_device seed data_seed jit_mode_eval use_ipex bf16 fp16
    fp16_opt_level half_precision_backend bf16_full_eval fp16_full_eval tf32 local_rank
    ddp_backend tpu_num_cores tpu_metrics_debug debug dataloader_drop_last eval_steps
    dataloader_num_workers dataloader_prefetch_factor past_index run_name disable_tqdm
    remove_unused_columns label_names load_best_model_at_end metric_for_best_model
    greater_is_better ignore_data_skip fsdp fsdp_min_num_params fsdp_config
    fsdp_transformer_layer_cls_to_wrap accelerator_config deepspeed
    label_smoothing_factor optim optim_args adafactor group_by_length
    length_column_name report_to ddp_find_unused_parameters ddp_bucket_cap_mb
    ddp_broadcast_buffers dataloader_pin_memory dataloader_persistent_workers
    skip_memory_metrics use_legacy_prediction_loop push_to_hub resume_from_checkpoint
    hub_model_id hub_strategy hub_private_repo hub_always_push hub_revision
    gradient_checkpointing gradient_checkpointing_kwargs include_inputs_for_metrics
    include_for_metrics eval_do_concat_batches fp16_backend push_to_hub_model_id
    push_to_hub_organization mp_parameters auto_find_batch_size full_determinism
    torchdynamo ray_scope ddp_timeout torch_compile torch_compile_backend
    torch_compile_mode dispatch_batches split_batches include_tokens_per_second
    include_num_input_tokens_seen neftune_noise_alpha optim_target_modules
    batch_eval_metrics eval_on_start use_liger_kernel liger_kernel_config
    eval_use_gather_object average_tokens_across_devices parallelism_config project
    trackio_space_id
""".split()
"""All fields but `hub_token` and `push_to_hub_token`, which are secrets."""

ML_FIELDS = """
    pad_token bos_token eos_token unk_token cls_token mask_token sep_token image_token
    additional_special_tokens extra_special_tokens decoder_start_token target_token
    pad_token_id eos_token_id tokenizer tokenizer_name tokenizer_class token_type
    token_type_ids tokens max_tokens max_new_tokens min_new_tokens n_tokens num_tokens
    token_count tokens_per_sec tokens_per_second train_tokens maxTokens tokenizerName
    key keys key_size key_value_heads num_key_value_heads key_padding_mask primary_key
    sort_key cache_key foreign_key image_key label_key metric_key prng_key keyword
    password_length password_policy secret_agent_env secretary author authors
    author_name authority authored session session_name signature model_signature
    compass bypass first_pass forward_pass passes pass_rate passed cookie_count monkey
    turkey keyboard hockey donkey_kong basic connection connection_count conn
    webhooks_on credit accredited significance sigma design assign pattern patience path
""".split()

ML_LINES = """
epoch 3 finished in 12.3 s, loss 0.1234 on 512 samples
tokens=512
tokens: 512, max_tokens=2048, max_new_tokens: 128
tokens_per_sec=1234.5 train_tokens_per_second: 98765.4
token=the
token: ##ing
token='Ġhello'
pad_token=<pad>
use pad_token=<pad> for the batch
eos_token: </s>
"bos_token": "<|begin_of_text|>", "pad_token": "<|finetune_right_pad_id|>"
{'image_token': '<image>', 'token': '[unused1]'}
key=value_heads
key: train/loss
{"key": "a", "value": 3}
num_key_value_heads=8, key_value_heads: 8
primary_key=id sort_key=name
pass=1 forward_pass: fp16
auth: none
password=None, token=None, api_key=null
use_auth_token=True
Enter password:
secret: {"a": 1}
secrets: 3, cookies: 12
PWD=/home/ada/project
GOOGLE_APPLICATION_CREDENTIALS=/home/me/gcp.json
private_key: ~/.ssh/id_rsa
commit 0123456789abcdef0123456789abcdef01234567
commit=0123456789abcdef0123456789abcdef01234567
sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
run_id=123e4567-e89b-12d3-a456-426614174000
token=123 at 20261123-182700-0a1b2c
saved checkpoint to /data/run-3/checkpoint-500/pytorch_model-00001-of-00002.bin
tokenizer: /models/meta-llama/Llama-2-7b-hf/tokenizer.json
token=/data/tokens/2024/shard-00001.bin
auth=https://login.example/oauth2/v2
model=meta-llama/Llama-2-7b-chat-hf dtype=bf16
loading VGVuc29yRmxvdzIuMTU/model_v2
sk-learn and sklearn, sk-internationalization-of-learning
sk-ant-colony-optimization-demo
hf_model=3 hf_hub_download hf_transfer_enabled_for_large_downloads
ghp_short npm_config_registry pypi-server
SG.D SG.D.optimizer dapi dapi_client
AKIA is how the key ids of AWS begin
eyJ is how a JSON web token begins
the Bearer of bad news, bearer authentication is required here
mail bob@example.com or see https://example.com:8080/users/bob@example.com
https://example.com/search?q=tokens&page=2
git@github.com:org/repo.git ssh://git@github.com/org/repo
std::token::Kind: a::b
-----BEGIN CERTIFICATE-----
-----BEGIN of the epoch----- loss=3
lr=1e-4, betas=(0.9, 0.999), eps=1e-08, fused=None
{"event": "run.start", "data": {"python": "3.11.7", "world_size": 1}}
Ünïcode tokens: 3, Schlüssel: drei
""".strip().splitlines()


@pytest.fixture
def redactor() -> Redactor:
    """One with the built-in tables alone."""
    return Redactor()


class TestTokens:
    """Well-known tokens are known by their shape."""

    @pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
    @pytest.mark.parametrize(
        "line",
        ["{}", "got {} here", "'{}'", '"{}",', "x={}", "({})", "a\n{}\nb", r"a\n{}"],
    )
    def test_token_vanishes_and_the_rest_stays(
        self, redactor: Redactor, token: str, line: str
    ) -> None:
        token = token.strip()
        clean = redactor.text(line.format(token))
        assert clean.replace(r"\n", "\n") in (
            line.format(REDACTED).replace(r"\n", "\n"),
            line.format(REDACTED + "\n").replace(r"\n", "\n"),
        )
        assert redactor.count >= 1

    @given(
        st.sampled_from(sorted(TOKENS.values())),
        st.text(),
        st.text(),
        st.sampled_from([" ", '"', "'", "\n", "\t"]),
    )
    def test_token_is_found_anywhere(
        self, token: str, before: str, after: str, mark: str
    ) -> None:
        redactor = Redactor()
        clean = redactor.text(before + mark + token + mark + after)
        assert token not in clean
        assert REDACTED in clean
        assert redactor.count >= 1

    def test_two_tokens_count_two(self, redactor: Redactor) -> None:
        redactor.text(f"{TOKENS['GitHub personal']} {TOKENS['npm']}")
        assert redactor.count == 2


class TestNamedSecrets:
    """A value behind a secret name is hidden, whatever it looks like."""

    @pytest.mark.parametrize(("line", "secret"), NAMED)
    def test_secret_vanishes_and_the_rest_stays(
        self, redactor: Redactor, line: str, secret: str
    ) -> None:
        clean = redactor.text(line.format(secret))
        assert secret not in clean
        assert clean.replace('"' + REDACTED + '"', REDACTED) in (
            line.format(REDACTED),
            line.format(REDACTED).replace('"' + REDACTED + '"', REDACTED),
        )
        assert redactor.count >= 1

    @pytest.mark.parametrize("name", SECRET_FIELDS)
    def test_field_of_secret_name_is_hidden(
        self, redactor: Redactor, name: str
    ) -> None:
        assert redactor.field(name, "hunter2") == REDACTED
        assert redactor.field(name, b"hunter2") == REDACTED.encode()
        assert redactor.count == 2

    @pytest.mark.parametrize("value", [7, 1.5, True, None, "", "None", "false"])
    def test_number_flag_and_nothing_are_not_secret(
        self, redactor: Redactor, value: Any
    ) -> None:
        assert redactor.field("password", value) is value

    @pytest.mark.parametrize("name", ["token", "auth", "pass", "user_token", "sig"])
    def test_ambiguous_name_hides_only_what_looks_like_a_credential(
        self, redactor: Redactor, name: str
    ) -> None:
        for word in (
            "##ing",
            "the",
            "<pad>",
            "basic",
            "a sentence of 4 words",
            "a" * 20,
        ):
            assert redactor.field(name, word) is word
        assert redactor.field(name, MIX) == REDACTED

    def test_token_in_the_value_of_an_ordinary_field(self, redactor: Redactor) -> None:
        assert redactor.field("note", f"use {TOKENS['npm']}") == f"use {REDACTED}"
        raw = f"use {TOKENS['npm']} \xff".encode("latin-1")
        assert redactor.field("note", raw) == f"use {REDACTED} \xff".encode("latin-1")


class TestOrdinaryNames:
    """Names and lines of machine learning come back as they are."""

    @pytest.mark.parametrize("line", ML_LINES)
    def test_line_is_the_same_object(self, redactor: Redactor, line: str) -> None:
        assert redactor.text(line) is line
        assert redactor.count == 0

    @pytest.mark.parametrize("name", TRAINING_ARGUMENTS + ML_FIELDS)
    def test_field_is_the_same_object(self, redactor: Redactor, name: str) -> None:
        for value in ("a", "<pad>", "a value of several words", 3, None):
            assert redactor.field(name, value) is value
        for line in (f"{name}=abc", f'"{name}": "abc"', f"--{name} abc"):
            assert redactor.text(line) is line
        assert redactor.argv([f"--{name}", "abc", f"{name}=abc"])[1] == "abc"
        assert redactor.count == 0


class TestFields:
    """Fields are searched to any depth and never changed in place."""

    def test_nested_fields(self, redactor: Redactor) -> None:
        fields = {
            "lr": 0.1,
            "db": {"user": "bob", "password": "x", "port": 5432},
            "api_keys": ["a", "b"],
            "steps": [1, 2.5, None, True, {"hub_token": "x"}],
            "shape": (3, "a"),
            "tokens": ["the", "##ing"],
            "max_tokens": 512,
        }
        assert redactor.fields(fields) == {
            "lr": 0.1,
            "db": {"user": "bob", "password": REDACTED, "port": 5432},
            "api_keys": [REDACTED, REDACTED],
            "steps": [1, 2.5, None, True, {"hub_token": REDACTED}],
            "shape": [3, "a"],
            "tokens": ["the", "##ing"],
            "max_tokens": 512,
        }
        assert redactor.count == 4

    def test_key_that_is_a_token(self, redactor: Redactor) -> None:
        assert redactor.fields({TOKENS["npm"]: 1}) == {REDACTED: 1}

    def test_single_values(self, redactor: Redactor) -> None:
        assert redactor.fields("password=x") == f"password={REDACTED}"
        assert redactor.fields(3) == 3
        assert redactor.fields(None) is None

    @given(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.text()
            | st.just("password=x"),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(st.sampled_from(["password", "a", "token"]), inner)
            ),
        )
    )
    def test_input_is_never_changed(self, fields: Any) -> None:
        before = copy.deepcopy(fields)
        once = Redactor().fields(fields)
        assert fields == before
        assert Redactor().fields(once) == once


class TestArgv:
    """The command line of a script, as `sys.argv` has it."""

    @pytest.mark.parametrize(
        ("given_", "clean"),
        [
            ("--password hunter2 --lr 3", "--password *** --lr 3"),
            ("--token=abc x", "--token=*** x"),
            ("--token abc x", "--token *** x"),
            ("hub_token=abc hub.token=abc +hub_token=abc", None),
            ("--use_auth_token --fp16", "--use_auth_token --fp16"),
            ("--pad_token <pad> -p 3", "--pad_token <pad> -p 3"),
            ("--tokenizer gpt2 --max_tokens 512", "--tokenizer gpt2 --max_tokens 512"),
            ("token=the key=value", "token=the key=value"),
            ("postgres://u:pw@h/db", "postgres://u:***@h/db"),
        ],
    )
    def test_command_line(
        self, redactor: Redactor, given_: str, clean: str | None
    ) -> None:
        expected = clean or "hub_token=*** hub.token=*** +hub_token=***"
        assert redactor.argv(given_.split()) == expected.split()

    def test_value_with_blanks_is_hidden_whole(self, redactor: Redactor) -> None:
        given_ = ["t.py", "--password=correct horse", "--passphrase", "battery staple"]
        assert redactor.argv(given_) == [
            "t.py",
            f"--password={REDACTED}",
            "--passphrase",
            REDACTED,
        ]
        assert given_[1] == "--password=correct horse"
        assert redactor.count == 2


class TestOptions:
    """What is hidden is extended, narrowed or switched off by one argument."""

    def test_further_names(self) -> None:
        redactor = Redactor(names=["patient", r"iban_\d"])
        assert redactor.fields({"Patient": "Bob", "iban-2": "x", "patients": "y"}) == {
            "Patient": REDACTED,
            "iban-2": REDACTED,
            "patients": "y",
        }
        assert redactor.text("patient=Bob age=3") == f"patient={REDACTED} age=3"

    def test_further_patterns(self) -> None:
        patterns: list[str | re.Pattern[str]] = [
            r"ACME-\d+",
            re.compile(r"user (?P<secret>\w+) left"),
        ]
        redactor = Redactor(patterns=patterns)
        assert redactor.text("ACME-12: user bob left") == "***: user *** left"
        assert redactor.count == 2

    def test_names_to_keep(self) -> None:
        redactor = Redactor(keep=["webhook_url", "my_.*"])
        assert redactor.field("webhook_url", "https://x") == "https://x"
        assert redactor.text("my_password=x") == "my_password=x"
        assert redactor.argv(["--my-password", "x"]) == ["--my-password", "x"]
        assert redactor.field("password", "x") == REDACTED

    def test_make_redactor(self) -> None:
        mine = Redactor()
        assert make_redactor(mine) is mine
        assert make_redactor(False) is None
        for spec, name in ((True, "password"), (["patient"], "patient")):
            redactor = make_redactor(spec)
            assert redactor is not None
            assert redactor.field(name, "x") == REDACTED

    def test_one_name_is_not_its_letters(self) -> None:
        redactor = make_redactor("patient")
        assert redactor is not None
        assert redactor.field("patient", "x") == REDACTED
        assert redactor.field("p", "x") == "x"

    def test_wrong_pattern_is_named(self) -> None:
        with pytest.raises(ValueError, match=r"names must be regular .* got '\('"):
            Redactor(names=["("])


PIECES = [
    *TOKENS.values(),
    *(line.format(secret) for line, secret in NAMED),
    *ML_LINES,
    *'= : -- \' " \\ \\" , ; & @ :// [ ] { } ( ) *** eyJ password token Bearer'.split(),
    " ",
    "\n",
    "password=",
    "--token ",
    "cookie: ",
    "://a:",
]


class TestAnyText:
    """Whatever the text is, the answer is stable and comes soon."""

    @given(
        st.text() | st.lists(st.sampled_from(PIECES) | st.text(max_size=3)).map("".join)
    )
    def test_redacting_twice_changes_nothing_more(self, text: str) -> None:
        once = Redactor().text(text)
        again = Redactor()
        assert again.text(once) is once
        assert again.count == 0

    @pytest.mark.parametrize(
        "piece",
        [
            "eyJ", "eyJ.", "-eyJ", "eyJaaaaaaaa.", "a.b", "password=", "password: ",
            'password="', "password='\n", r"password=\"", "password=)", "password=a,",
            "password=&", "token=", "token='", "token=a1", "--token ", "--password --",
            "pwd=/", "pwd=/a,", "key=[", 'secrets: ["', "api key ", "a ", "://",
            "://a:", "://a:b@", "://@:", "a:@://", "-----BEGIN", "-----BEGIN ",
            "-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----a-",
            "sk-", "-sk-a", "sk-ant-a-", "SG.", "SG.aaaaaaaaaaaaaaaaaaa.", "ghp_", "hf_a",
            "xoxb-", "Bearer ", "Bearer a", "cookie: a", "cookie:", "authorization:",
            "authorization: digest ", "\\", '\\"', "=\\", "aA", " ", "=", "\t", "&a",
        ],
    )  # fmt: skip
    def test_time_grows_with_the_length(self, piece: str) -> None:
        """Eight times the text never takes anything like 64 times as long."""
        redactor = Redactor()
        tail = " password=x AKIA@://:="

        def seconds(size: int) -> float:
            text = piece * (size // len(piece)) + tail
            start = time.thread_time()  # others on the machine do not count
            redactor.text(text)
            return time.thread_time() - start

        small = min(seconds(25_000) for _ in range(3))
        assert min(seconds(200_000) for _ in range(2)) < 32 * small + 0.1

    @pytest.mark.parametrize("piece", ["eyJ", "a.b", "password=", "://a:", "token="])
    def test_a_megabyte_of_malice(self, piece: str) -> None:
        text = piece * (1_000_000 // len(piece)) + "@"
        start = time.thread_time()
        Redactor().text(text)
        assert time.thread_time() - start < 10  # seconds; quadratic would be minutes


# --- names, quickly ------------------------------------------------------------------

_NAMES = st.one_of(
    st.text(alphabet="abcdefghijklmnopqrstuvwxyz_", max_size=20),
    st.builds(
        "".join,
        st.lists(
            st.sampled_from(
                "pass word pwd secret api_ key token auth cookie conn str hook _ sig "
                "cred bearer jwt sas pat pad_ hf_ x_amz_ nature db_ ssh_ s 1".split()
            ),
            max_size=5,
        ),
    ),
)


@given(_NAMES)
def test_names_judged_without_the_tables_are_in_none_of_them(name: str) -> None:
    """The quick test of a name lets none pass that one of the tables has."""
    normal = normal_name(name).rstrip("0123456789").rstrip("_")
    tables = {
        Kind.ORDINARY: ORDINARY,
        Kind.STRONG: STRONG,
        Kind.FILE: FILE,
        Kind.WEAK: WEAK,
    }
    fitting = (kind for kind, table in tables.items() if re.fullmatch(table, normal))
    assert kind_of(name) is next(fitting, Kind.OTHER)
