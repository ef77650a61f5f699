"""Tables and figures of the paper, measured ones beside the printed ones."""
