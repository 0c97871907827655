"""The recipes: what a parameter that is `auto` in params.yaml stands for; see docs/recipes.md."""

AUTO = "auto"
# TensorFlow's tutorial, as it is published.
TUTORIAL = {
    "image_size": 160,
    "rotation": 0.2,
    "random_resized_crop": 0.0,
    "head_solver": "adam",
    "head_epochs": 10,
    "head_learning_rate": 0.0001,
    "fine_tune_optimizer": "rmsprop",
    "fine_tune_epochs": 10,
    "fine_tune_learning_rate": 0.00001,
    "fine_tune_at": 100,
    "fold_normalization": False,
    "interpolate_weights": False,
    "calibrate": False,
    "familiarity": False,
    "label_smoothing": 0.0,
    "schedule": "constant",
    "warmup_epochs": 0,
}
# A parameter that stays `auto` depends on the images or on the backbone: see where it is read.
ROBUST = TUTORIAL | {
    "image_size": 224,
    "rotation": 0.0,
    "random_resized_crop": 0.3,
    "head_solver": "lbfgs",
    "fine_tune_optimizer": "adam",
    "fine_tune_epochs": AUTO,
    "fine_tune_learning_rate": AUTO,
    "fine_tune_at": AUTO,
    "fold_normalization": True,
    "interpolate_weights": True,
    "calibrate": True,
    "familiarity": True,
    "label_smoothing": 0.1,
    "schedule": "cosine",
    "warmup_epochs": 1,
}
RECIPES = {"robust": ROBUST, "tutorial": TUTORIAL}
EPOCHS = ("head_epochs", "fine_tune_epochs")
OF_ADAM = ("head_epochs", "head_learning_rate")


def fill(values: dict) -> dict:
    """Return the values of params.yaml, with those of the recipe where they are `auto`.

    A value of the head's training by Adam asks for that training, unless a solver is named; and
    there is no warm-up where a phase has one epoch only.

    Args:
        values: By name, not checked yet.
    """
    recipe = RECIPES.get(str(values.get("recipe")), ROBUST)  # one error, not one for each `auto`
    filled = {
        name: recipe.get(name, value) if value == AUTO else value for name, value in values.items()
    }
    if values.get("head_solver") == AUTO and any(values.get(name) != AUTO for name in OF_ADAM):
        filled["head_solver"] = "adam"
    if values.get("warmup_epochs") == AUTO and 1 in map(values.get, EPOCHS):
        filled["warmup_epochs"] = 0
    return filled


def describe(values: dict) -> str:
    """Return in one line which recipe it is, its values, and which others are set instead.

    Args:
        values: All parameters by name.
    """
    recipe = RECIPES[values["recipe"]]
    own = {name: values[name] for name in recipe if values[name] != recipe[name]}
    kept = {n: value for n, value in recipe.items() if n not in own and value != AUTO}
    if values["head_solver"] == "lbfgs":
        kept = {name: value for name, value in kept.items() if name not in OF_ADAM}
    line = f"recipe {values['recipe']}: {_listed(kept)}"
    return f"{line}; set instead: {_listed(own)}" if own else line


def _listed(values: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
