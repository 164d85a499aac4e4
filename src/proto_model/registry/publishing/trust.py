"""What somebody who uses a version asks of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from proto_model.registry.publishing.findings import PublicationError
from proto_model.registry.publishing.keys import VerifyKey, read_key_text, read_verify_key

REQUIRE_VARIABLE = "PROTO_MODEL_REQUIRE_PUBLISHED"
KEY_VARIABLE = "PROTO_MODEL_VERIFY_KEY"
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


@dataclass(frozen=True)
class Trust:
    """Whether a version has to be published, and PEM texts of the keys of which one has to have signed it."""

    require_published: bool = False
    keys: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything is asked."""
        return self.require_published or bool(self.keys)

    @classmethod
    def of(cls, require_published: bool, keys: Sequence[Path | str]) -> Trust:
        """The same with key files, read now; raises PublicationError if one cannot be used."""
        texts = tuple(read_key_text(Path(path)) for path in keys)
        for path, text in zip(keys, texts, strict=True):
            if "-----BEGIN" not in text:  # what is wrong inside is found when it is used
                raise PublicationError(f"There is no public key in {path}.")
        return cls(require_published or bool(texts), texts)

    @classmethod
    def asked(cls, required: bool, keys: Sequence[Path | str], environment: Mapping[str, str]) -> Trust:
        """The same; what is not asked, two variables may ask. Several files of keys are given as in PATH."""
        text = environment.get(REQUIRE_VARIABLE, "").strip().lower()
        if text not in _TRUE + _FALSE:
            raise PublicationError(f"{REQUIRE_VARIABLE} is {text!r}, true or false expected.")
        given = keys or list(filter(None, environment.get(KEY_VARIABLE, "").split(os.pathsep)))
        return cls.of(required or text in _TRUE, given)

    def verify_keys(self) -> list[VerifyKey]:
        """The keys, read; raises PublicationError if one is none."""
        return [read_verify_key(text) for text in self.keys]

    def to_json(self) -> str:
        """For another process."""
        return json.dumps(asdict(self))

    @classmethod
    def of_json(cls, text: str) -> Trust:
        """What `to_json` gave."""
        read = json.loads(text)
        return cls(read["require_published"], tuple(read["keys"]))
