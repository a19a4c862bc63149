"""Reading runs from their files; never imports what writes them."""
