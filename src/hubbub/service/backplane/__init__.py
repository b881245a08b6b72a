"""What joins the nodes of one service: channels of bytes, in one process or over Redis."""
