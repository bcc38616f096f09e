"""How the bundled model is made: public text → a pretrained base → the trainer's recipe."""
