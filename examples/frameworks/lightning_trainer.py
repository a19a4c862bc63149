"""A Lightning model: metrics, hyperparameters and checkpoints in a run."""

import lightning
import torch
from sklearn.datasets import load_diabetes

from mlog.lightning import MLogLogger


class Model(lightning.LightningModule):
    def __init__(self, lr: float = 0.01) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(10, 1)

    def training_step(self, batch, _):
        loss = (self.layer(batch[0]) - batch[1]).square().mean()
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.hparams.lr)


x, y = (torch.tensor(a, dtype=torch.float32) for a in load_diabetes(return_X_y=True))
data = torch.utils.data.TensorDataset(x, y[:, None])
logger = MLogLogger("diabetes-lightning", checkpoints=True)
trainer = lightning.Trainer(max_epochs=2, logger=logger, log_every_n_steps=5)
trainer.fit(Model(), torch.utils.data.DataLoader(data, batch_size=32))
print(logger.experiment.params, logger.experiment.get_file_names())
