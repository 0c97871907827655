"""The parameters: their types, their ranges and what they mean."""

import re
from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from transfer.core.files import is_plain
from transfer.core.recipes import AUTO


def _without_control_characters(value: str) -> str:
    if not is_plain(value):
        raise ValueError("Input should be a line of text, without control characters")
    return value


Address = Annotated[str, Field(min_length=1), AfterValidator(_without_control_characters)]


def _a_path_that_dvc_understands(value: str) -> str:
    if "://" in value or value.startswith("~"):
        raise ValueError(
            "Input should be a path, absolute or below this folder; a URL belongs into data_url"
        )
    return value


def _compiled(value: str | None) -> str | None:
    try:
        re.compile(value or "")
    except re.error as error:
        raise ValueError(f"Input should be a regular expression: {error}") from None
    return value


# `dvc exp run -S data_sha256=` writes an empty text, where params.yaml has nothing.
EMPTY_IS_NONE = BeforeValidator(lambda value: None if value == "" else value)
Sha256 = Annotated[Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None, EMPTY_IS_NONE]
Pattern = Annotated[str | None, EMPTY_IS_NONE, AfterValidator(_compiled)]
OwnPath = Annotated[Address, AfterValidator(_a_path_that_dvc_understands)]
Layer = Annotated[int, Field(ge=0)] | Annotated[str, Field(min_length=1)]
# Names in the query of a signed URL or of one with a key: X-Amz-Signature, sig, access_token, …
SECRET = re.compile(r"(credential|key|key_?id|password|secret|sig|signature|token)$", re.IGNORECASE)


class Params(BaseModel):
    """Every parameter that determines the result; docs/parameters.md is made from this class."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    recipe: Literal["robust", "tutorial"] = Field(
        description="What `auto` stands for in other parameters. `robust`: what suits the images "
        "and the backbone ([recipes.md](recipes.md)). `tutorial`: the values of TensorFlow's "
        "tutorial."
    )

    data_url: Address = Field(
        description="Where the images are: a URL (https, s3, gs), an archive (zip, tar.*), a "
        "folder, a table (.csv), or `sample`: images that the project draws itself."
    )
    own_images: OwnPath = Field(
        description="Images of your own, in place of those of `data_url`: the path of a folder, an "
        "archive or a table, which DVC watches. `data/none`: there are none."
    )
    data_sha256: Sha256 = Field(
        description="Content hash that the images must have. Empty: the known one of the "
        "tutorial's URL; others are not verified."
    )
    backbone: str = Field(
        min_length=1,
        description="Any of keras.applications, such as EfficientNetV2B0, ConvNeXtTiny, ResNet50; "
        "or EfficientNetLite0.",
    )
    base_weights: Address = Field(
        description="Weights of the backbone: `imagenet`, `random`, the path or URL of an .h5 "
        "file, or for MobileNetV2 `imagenet-96` to `imagenet-224`, trained at that image size."
    )

    image_size: int = Field(
        ge=32, le=1024, description="Height and width of the square images, in pixels."
    )
    crop_to_aspect_ratio: bool = Field(
        description="`true`: cut out the centre square. `false`: squeeze the whole image into a "
        "square, as the tutorial does."
    )
    val_fraction: float = Field(
        gt=0,
        lt=1,
        description="Fraction of all images for validation, where the data has no validation "
        "folder.",
    )
    test_fraction: float = Field(
        gt=0,
        lt=1,
        description="Fraction for the test: of the validation folder, or of all images where "
        "there is no such folder.",
    )
    stable_splits: bool = Field(
        description="Whether the split of an image depends on its content, or the name of its "
        "group, and the seed alone, so that images that are added move no others "
        "([own_images.md](own_images.md#a-set-that-grows)). The fractions then hold on average."
    )
    max_rejected: float = Field(
        ge=0,
        le=1,
        description="Fraction of the images that may be unreadable or have two labels before the "
        "stage stops. Second copies, and images that corrections.csv excludes, don't count.",
    )
    group_pattern: Pattern = Field(
        description="A regular expression for the names of image files: images with the same find "
        "(its first parenthesis, if it has one) are a group, such as `^[^_]+` for "
        "`patient7_3.jpg`. No group is in two splits. A table may have a column `group` instead. "
        "Empty: there are no groups."
    )
    near_duplicates: Literal["report", "together"] = Field(
        description="Images that look the same though their bytes differ: `report` those in two "
        "splits, or put them `together` into one."
    )
    suspects: bool = Field(
        description="Whether `train_head` looks for images with a label that is probably wrong, "
        "and lists them in `data/suspects.csv` ([suspects.md](suspects.md)). It changes nothing "
        "else."
    )
    seed: int = Field(
        ge=0,
        lt=2**31,
        description="Seed of the split, the head's first weights, shuffling, augmentation and "
        "dropout.",
    )

    batch_size: int = Field(ge=1, description="Images in a batch, on all devices together.")
    flip: Literal["none", "horizontal", "vertical", "horizontal_and_vertical"] = Field(
        description="Augmentation: mirror each image with probability 1/2, each way named."
    )
    rotation: float = Field(
        ge=0,
        le=0.5,
        description="Augmentation: rotate by up to this fraction of a full turn, either way.",
    )
    random_resized_crop: float = Field(
        ge=0,
        lt=1,
        description="Augmentation: cut off up to this fraction of the side, at a random place, "
        "and resize the rest to the full size.",
    )
    color_jitter: float = Field(
        ge=0,
        le=1,
        description="Augmentation: change brightness, contrast and saturation by up to this "
        "fraction, each.",
    )
    random_erasing: float = Field(
        ge=0,
        le=1,
        description="Augmentation: fill a random rectangle with random colours, with this "
        "probability ([Zhong et al., 2020](https://arxiv.org/abs/1708.04896)).",
    )
    mixup: float = Field(
        ge=0,
        le=10,
        description="Augmentation: mix each image and its target with another one, by a fraction "
        "drawn from Beta(alpha, alpha) ([Zhang et al., 2018](https://arxiv.org/abs/1710.09412)). "
        "This is alpha; 0.2 is usual, 0 switches it off.",
    )
    label_smoothing: float = Field(
        ge=0,
        lt=1,
        description="Fraction of each training target that is spread over all classes. The losses "
        "of validation and test stay plain.",
    )
    class_weights: Literal["none", "balanced"] = Field(
        description="`balanced`: each class counts the same, however many images it has."
    )
    dropout: float = Field(ge=0, lt=1, description="Dropout rate before the last layer.")
    head_solver: Literal["lbfgs", "adam"] = Field(
        description="How the head is trained on the frozen base: by `lbfgs` to convergence, as a "
        "logistic regression, or by `adam` for some epochs."
    )
    head_epochs: int = Field(ge=1, description="Epochs of training the head by Adam.")
    head_learning_rate: float = Field(
        gt=0, le=1, description="Learning rate of training the head by Adam."
    )
    fine_tune_optimizer: Literal["adam", "rmsprop", "sgd"] = Field(
        description="Optimizer of fine-tuning; `sgd` has Nesterov momentum of 0.9."
    )
    fine_tune_epochs: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        description="Epochs of fine-tuning; `auto` with the recipe `robust`: fewer for more "
        "images, and where the head alone is right on 95 % of the validation images."
    )
    fine_tune_learning_rate: Literal["auto"] | Annotated[float, Field(gt=0, le=1)] = Field(
        description="Learning rate of fine-tuning; `auto` with the recipe `robust`: lower for "
        "fewer than 1,000 training images."
    )
    fine_tune_at: Layer = Field(
        description="First layer of the base to fine-tune: an index, or a name such as "
        "`block_13_expand`; `auto` with the recipe `robust`: the narrowest place after 60 to 70 % "
        "of the layers. `python -m scripts.layers` lists them."
    )
    fold_normalization: bool = Field(
        description="Give each convolution the scale of the normalization after it before "
        "fine-tuning, so that one learning rate suits all channels."
    )
    interpolate_weights: bool = Field(
        description="Deliver the weights on the way from the head's model to the fine-tuned one, "
        "at 1/4, 1/2, 3/4 or the end, that are best on the validation images "
        "([Wortsman et al., 2022](https://arxiv.org/abs/2109.01903))."
    )
    calibrate: bool = Field(
        description="Divide the delivered model's logits by the temperature that suits the "
        "validation images best, so that it is as sure as it is right "
        "([Guo et al., 2017](https://arxiv.org/abs/1706.04599))."
    )
    familiarity: bool = Field(
        description="Store with the delivered model what tells whether an image is like those that "
        "it learned from ([unfamiliar.md](unfamiliar.md)). It changes nothing else."
    )
    schedule: Literal["constant", "cosine"] = Field(
        description="How the learning rate goes on in each phase: `constant`, or `cosine`, down "
        "to 0."
    )
    warmup_epochs: int = Field(
        ge=0, description="First epochs of each phase, in which the learning rate rises from 0."
    )
    weight_decay: float = Field(
        ge=0,
        lt=1,
        description="Decoupled weight decay, as in AdamW; not of biases and normalization.",
    )
    early_stopping: int = Field(
        ge=0,
        description="End a phase after this many epochs without a lower validation loss, and keep "
        "its best epoch. 0: train all epochs, keep the last.",
    )
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = Field(
        description="Precision of the computation. The mixed ones are faster on a GPU; weights and "
        "the delivered model stay float32."
    )

    views: int = Field(
        ge=0,
        description="Augmented views of each image whose frozen features are stored, for cheap "
        "sweeps. 0: augment anew in every epoch.",
    )
    views_at: Layer = Field(
        description="First layer that is not part of the features stored for fine-tuning."
    )
    views_gb: float = Field(
        gt=0, description="Most that stored features may take on the disk, in GB."
    )

    @model_validator(mode="after")
    def _leave_images_to_train_on(self) -> "Params":
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                "val_fraction + test_fraction must be below 1, or nothing is left to train on; "
                f"received {self.val_fraction} + {self.test_fraction}"
            )
        return self

    @model_validator(mode="after")
    def _leave_epochs_after_the_warm_up(self) -> "Params":
        phases = ["head_epochs"] if self.head_solver == "adam" else []
        phases += ["fine_tune_epochs"] if self.fine_tune_epochs != AUTO else []
        for name in phases:
            if self.warmup_epochs >= getattr(self, name):
                raise ValueError(
                    f"warmup_epochs must be below {name}, or the learning rate is never reached; "
                    f"received {self.warmup_epochs} of {getattr(self, name)}"
                )
        return self

    @model_validator(mode="after")
    def _hold_no_secret(self) -> "Params":
        for name in ("data_url", "base_weights"):
            if secret := _secret_in(getattr(self, name)):
                raise ValueError(
                    f"{name}: expected a URL without secrets, since this file and dvc.lock are in "
                    f"git; received one with {secret}; s3:// and gs:// take credentials from the "
                    "environment; or fetch the file yourself and give its path"
                )
        return self


def _secret_in(url: str) -> str | None:
    """Return the name of a login or a signature in a URL; the secret itself is never printed."""
    parts = urlsplit(url)
    if parts.password is not None or (parts.username and parts.scheme in ("http", "https")):
        return "a login"
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    return next((name for name in names if SECRET.search(name)), None)
