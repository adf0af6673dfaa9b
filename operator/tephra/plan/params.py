"""User parameters: checked against a JSON Schema (draft 2020-12) and completed with its defaults.

Schemas come from Flavours and ThingVisorTypes, so they may be wrong themselves: that is told apart from wrong
parameters, because another person has to mend it. A schema can only refer to itself; nothing is fetched.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from referencing import Registry
from referencing.exceptions import Unresolvable

Json = dict[str, Any]


class SchemaInvalid(ValueError):
    """The schema cannot be used; the message names the place and the cause."""


class ParamsInvalid(ValueError):
    """The parameters break the schema; the message names the place and the cause."""


def complete(schema: Mapping[str, Any], params: Mapping[str, Any], where: str = "spec.params") -> Json:
    """``params`` with the defaults of ``schema`` filled in, checked; raises SchemaInvalid or ParamsInvalid.

    Defaults are taken from ``properties`` and ``items``, not from what ``$ref``, ``allOf`` and the like add.
    """
    validator = _validator(orjson.dumps(schema))
    try:
        completed: Json = _with_defaults(schema, params)
        error = best_match(validator.iter_errors(completed))
    except (re.error, Unresolvable, RecursionError, ArithmeticError) as cause:
        raise SchemaInvalid(f"the schema cannot be applied: {_first_line(cause)}") from cause
    if error is not None:
        raise ParamsInvalid(f"{where}{_path(error)}: {_first_line(error)}")
    return completed


@lru_cache(maxsize=256)
def _validator(schema: bytes) -> Draft202012Validator:
    parsed = orjson.loads(schema)
    try:
        Draft202012Validator.check_schema(parsed)
    except SchemaError as error:
        raise SchemaInvalid(f"not a JSON Schema: schema{_path(error)}: {_first_line(error)}") from error
    except RecursionError as error:
        raise SchemaInvalid("not a JSON Schema: nested too deeply") from error
    return Draft202012Validator(parsed, registry=Registry())


def _with_defaults(schema: Any, value: Any) -> Any:
    if not isinstance(schema, Mapping):
        return value
    if isinstance(value, Mapping) and isinstance(schema.get("properties"), Mapping):
        filled = dict(value)
        for name, part in schema["properties"].items():
            if name in filled:
                filled[name] = _with_defaults(part, filled[name])
            elif isinstance(part, Mapping) and "default" in part:
                filled[name] = part["default"]
        return filled
    if isinstance(value, list) and "items" in schema:
        return [_with_defaults(schema["items"], item) for item in value]
    return value


def _path(error: ValidationError | SchemaError) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)


def _first_line(error: Exception) -> str:
    text = error.message if isinstance(error, ValidationError | SchemaError) else str(error) or type(error).__name__
    return text.partition("\n")[0][:400]
