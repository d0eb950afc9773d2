"""The three patch formats of the Kubernetes API.

JSON patch is RFC 6902, merge patch RFC 7386; strategic merge is Kubernetes' own: lists of objects merge by a
key (kubernetes/api: the patchMergeKey tags).
"""

from __future__ import annotations

import copy
from typing import Any

from bot.sandbox.world.kube.objects import ApiError, Obj

#: Merge key of each list that strategic merge treats as a map; other lists are replaced.
_MERGE_KEYS = {
    "conditions": "type",
    "addresses": "type",
    "taints": "key",
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
    "ownerReferences": "uid",
    "secrets": "name",
}


def apply_patch(content_type: str, patch: Any, target: Obj, *, builtin: bool) -> Obj:
    """``target`` with ``patch`` applied; ``target`` itself stays as it is.

    Raises:
        ApiError: 415 for a format that the resource does not take, 400 or 422 for a bad patch.
    """
    kind = content_type.split(";")[0].strip()
    if kind == "application/json-patch+json":
        return json_patch(target, patch)
    if not isinstance(patch, dict):
        raise ApiError(400, "BadRequest", "the patch must be an object")
    if kind == "application/merge-patch+json":
        return dict(merged(target, patch))
    if kind in ("application/strategic-merge-patch+json", "") and builtin:
        return strategic(target, patch)
    accepted = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
    message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
    raise ApiError(415, "UnsupportedMediaType", message)


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return copy.deepcopy(result)


def strategic(target: Any, patch: Obj) -> Obj:
    """Kubernetes' strategic merge: patched entries of a keyed list come first, as the real server has it."""
    if patch.get("$patch") == "replace":
        return {k: copy.deepcopy(v) for k, v in patch.items() if k != "$patch"}
    result = copy.deepcopy(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = strategic(result.get(key), value)
        elif isinstance(value, list) and key in _MERGE_KEYS:
            result[key] = _merge_list(result.get(key) or [], value, _MERGE_KEYS[key])
        else:
            result[key] = copy.deepcopy(value)
    return result


def _merge_list(old: list[Obj], patch: list[Obj], key: str) -> list[Obj]:
    if any(item.get("$patch") == "replace" for item in patch):
        return [copy.deepcopy(item) for item in patch if "$patch" not in item]
    removed = {item[key] for item in patch if item.get("$patch") == "delete"}
    known = {item.get(key): item for item in old}
    front = [strategic(known.get(item[key]), item) for item in patch if item.get(key) not in removed]
    named = {item.get(key) for item in front}
    return front + [item for item in old if item.get(key) not in named | removed]


def json_patch(target: Obj, operations: Any) -> Obj:
    """RFC 6902.

    Raises:
        ApiError: 400 when it is no list of operations, 422 when one cannot be applied or a test fails.
    """
    if not isinstance(operations, list):
        raise ApiError(400, "BadRequest", "a JSON patch is a list of operations")
    document: Any = copy.deepcopy(target)
    for operation in operations:
        try:
            _operate(document, operation)
        except (KeyError, IndexError, ValueError, TypeError) as problem:
            message = f"the server rejected our request due to an error in our request: {problem}"
            raise ApiError(422, "Invalid", message) from problem
    return dict(document)


def _operate(document: Any, operation: Obj) -> None:
    name, path = operation["op"], _pointer(operation["path"])
    if name == "test":
        if _read(document, path) != operation["value"]:
            raise ValueError(f"testing path {operation['path']} value failed")
    elif name == "remove":
        _remove(document, path)
    elif name == "replace":
        _read(document, path)
        _write(document, path, operation["value"], insert=False)
    elif name == "add":
        _write(document, path, operation["value"], insert=True)
    elif name in ("move", "copy"):
        source = _pointer(operation["from"])
        value = copy.deepcopy(_read(document, source))
        if name == "move":
            _remove(document, source)
        _write(document, path, value, insert=True)
    else:
        raise ValueError(f"unexpected kind: {name}")


def _pointer(text: str) -> list[str]:
    if not text.startswith("/"):
        raise ValueError(f"a JSON pointer starts with a slash: {text!r}")
    return [part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/")]


def _read(document: Any, path: list[str]) -> Any:
    for part in path:
        document = document[_index(part)] if isinstance(document, list) else document[part]
    return document


def _index(part: str) -> int:
    if not part.isdigit():
        raise ValueError(f"not an index of an array: {part!r}")
    return int(part)


def _remove(document: Any, path: list[str]) -> None:
    parent, last = _read(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        del parent[_index(last)]
    else:
        del parent[last]


def _write(document: Any, path: list[str], value: Any, *, insert: bool) -> None:
    parent, last = _read(document, path[:-1]), path[-1]
    value = copy.deepcopy(value)
    if not isinstance(parent, list):
        parent[last] = value
    elif not insert:
        parent[_index(last)] = value
    else:
        where = len(parent) if last == "-" else _index(last)
        if where > len(parent):
            raise IndexError(f"index {where} is beyond the array's end")
        parent.insert(where, value)
