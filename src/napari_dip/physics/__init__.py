"""How the scene becomes data: operators, noise, regularization, the problem."""
