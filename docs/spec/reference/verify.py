#!/usr/bin/env python3
"""Verifies a lineage: python3 verify.py [--did DID] [--head CID] PATH...
A PATH is a checkpoint, a folder (searched for *.ckpt and segments), a .car file, or - for a CAR on standard input.
"""
import argparse, base64, codecs, io, json, os, re, struct, sys
from collections import Counter
from hashlib import sha256, sha512
from itertools import groupby
from types import SimpleNamespace

LIMIT = 64 << 20  # bytes of a checkpoint
HEADER = {2: 57, 3: 81, 4: 209}  # checkpoint.md, Version dispatch
ZERO = bytes(32)  # the prevHash of a genesis

def need(condition, complaint):  # or there is no verdict
    if not condition:
        raise ValueError(complaint)

# Ed25519 (checkpoint.md, Accepting a signature; RFC 8032, section 5.1). Points are (X, Y, Z, T).
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ORDER_8 = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
SMALL_ORDER = {0, 1, P - 1, ORDER_8, P - ORDER_8}

def decode(encoded):  # RFC 8032, section 5.1.3; rule 1 has ruled out y >= p and x = 0
    sign, y = divmod(encoded, 2**255)
    u, v = y * y - 1, (D * y * y + 1) % P
    root = u * v**3 * pow(u * v**7, (P - 5) // 8, P) % P
    for x in root, root * pow(2, (P - 1) // 4, P) % P:
        if (v * x * x - u) % P == 0:
            x = x if x & 1 == sign else P - x
            return x, y, 1, x * y % P

def add(p, q):  # the formulas are complete: p may be q
    (x1, y1, z1, t1), (x2, y2, z2, t2) = p, q
    a, b, c, d = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P, 2 * D * t1 * t2 % P, 2 * z1 * z2 % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P

def multiples(p):
    return (0, 1, 1, 0), p, add(p, p), add(add(p, p), p)
BASE = multiples(decode(4 * pow(5, -1, P) % P))

def signature_problem(key, signature, message):
    a, r, s = (int.from_bytes(part, "little") for part in (key, signature[:32], signature[32:]))
    if a % 2**255 >= P or a % 2**255 in SMALL_ORDER:  # rule 1
        return "weak-key"
    minus_a = decode(a ^ 2**255)  # the sign of x is the top bit
    if minus_a is None or s >= L:  # rules 2 and 3
        return "bad-signature"
    k = int.from_bytes(sha512(signature[:32] + key + message).digest(), "little") % L
    table = [[add(p, q) for q in BASE] for p in multiples(minus_a)]
    point = table[0][0]
    for bit in range(252, -1, -2):  # rule 4: [S]B - [k]A, two bits of each at a time
        twice = add(point, point)
        point = add(add(twice, twice), table[k >> bit & 3][s >> bit & 3])
    inverse = pow(point[2], -1, P)
    return None if point[1] * inverse % P | (point[0] * inverse % P & 1) << 255 == r else "bad-signature"

# Names (checkpoint.md, DID and CID). They are parsed loosely, then have to be the text of what was parsed.
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
CID = bytes([0x01, 0x55, 0x12, 0x20])
CAR_HEADER = b"\xa2\x65roots\x81\xd8\x2a\x58\x25\0" + CID, b"\x67version\1"  # car.md, Layout: the root is between

def did(key):
    number, text = int.from_bytes(b"\xed\x01" + key, "big"), ""
    while number:
        number, text = number // 58, BASE58[number % 58] + text
    return "did:key:z" + text
def cid(digest):
    return "b" + base64.b32encode(CID + digest).decode().lower().rstrip("=")

def parse_did(text):
    digits = [BASE58.find(letter) * 58**i for i, letter in enumerate(reversed(text[9:56]))]
    key = (sum(digits) % 2**256).to_bytes(32, "big")
    need(did(key) == text, "malformed DID")
    return key
def parse_cid(text):
    digest = base64.b32decode(text[1:59].upper() + "======")[4:]
    need(cid(digest) == text and len(digest) == 32, "malformed CID")
    return digest

def examine(name, data, digest):  # lineage.md, Examine
    c = SimpleNamespace(name=name, size=len(data), hash=digest, version=None, tick=-1)  # -1: unreadable
    if not data or data[0] not in HEADER or len(data) < HEADER[data[0]]:
        c.problems = ["empty" if not data else "truncated" if data[0] in HEADER else "unsupported-version"]
        return c
    c.version, c.budget, c.price, c.tick, c.wasm = struct.unpack_from("<BqqQ32s", data)
    c.prev, c.key = data[81:113], data[113:145]  # of version 4, which is all that link() asks for
    signature = signature_problem(c.key, data[145:209], data[:145] + data[209:]) if c.version == 4 else "unsigned-version"
    c.authentic = signature is None
    codes = {signature: not c.authentic, "negative-budget": c.budget < 0, "negative-price": c.price < 0}
    c.problems = [code for code in codes if codes[code]]
    return c

def present(**fields):
    return {field: value for field, value in fields.items() if value is not None}
codecs.register_error("U+FFFD", lambda error: ("\ufffd", error.start + 1))  # for each byte that is not UTF-8
def problem(code, c=None, expected=None, found=None):
    name, tick = c and c.name.decode("utf-8", "U+FFFD"), str(c.tick) if c and c.tick >= 0 else None
    return present(code=code, name=name, tick=tick, message=code.replace("-", " "), expected=expected, found=found)

def lives_of(authentic, keys):
    ticks = {key: [] for key in keys}
    for c in authentic:
        ticks[c.key].append(c.tick)
    lives = [{"did": did(key), "checkpoints": len(ticks[key]), "firstTick": str(ticks[key][0]), "lastTick": str(ticks[key][-1])} for key in keys[:100]]
    others = [len(ticks[key]) for key in keys[100:]]
    return lives + [{"others": len(others), "checkpoints": sum(others)}] * bool(others)
def not_looked_at(left_out):
    return [{"kind": kind, "files": len(names), "name": min(names).decode("utf-8", "U+FFFD")} for kind, names in sorted(left_out.items())]

def link(supplied, duplicates, pinned, pinned_head, left_out):  # lineage.md, Link, after rule 1; supplied is by content hash
    everything = sorted(supplied.values(), key=lambda c: (c.tick, c.name if c.tick < 0 else b"", c.hash))  # rule 2
    version4 = [c for c in everything if c.version == 4]
    authentic = [c for c in version4 if c.authentic]
    problems = [problem(code, c) for c in everything for code in c.problems]
    counts = Counter(c.key for c in authentic)  # rule 3
    lives = sorted(counts, key=lambda key: -counts[key])  # of as many, in the order of their first checkpoints
    claimed = [c.key for c in [c for c in version4 if c.prev == ZERO] + version4]
    key = pinned if pinned in counts else next(iter(lives + claimed), None)
    other_did = pinned is not None and pinned != key  # rule 4
    own = next((c for c in authentic if c.key == key), None)
    accused = [c for c in authentic if c.key != key or c is own and other_did] or [None] * other_did
    problems += [problem("identity-mismatch", c, did(pinned or key), c and did(c.key)) for c in accused]
    first = {c.prev: c for c in sorted(reversed(authentic), key=lambda c: c.key == key)}  # rule 5
    forks = [c for c in authentic if c is not first[c.prev]]
    problems += [problem("fork", c) for c in forks]
    pairs = [(supplied[c.prev], c) for c in authentic if c.prev in supplied]  # rule 6
    problems += [problem("tick-order", c) for before, c in pairs if before.tick >= c.tick]
    gaps = [c for c in authentic if c is first[c.prev] and c.prev != ZERO and c.prev not in supplied]  # rule 7
    if authentic and all(c.prev != ZERO for c in version4):  # rule 8
        problems.append(problem("missing-genesis", gaps.pop(0) if gaps else authentic[0]))
    problems += [problem("gap", c, cid(c.prev)) for c in gaps]
    if pinned_head and pinned_head not in supplied:  # rule 9
        problems.append(problem("head-not-found", None, cid(pinned_head)))
    wrong = {p["code"] for p in problems} - {"missing-genesis", "gap", "head-not-found"}
    verdict = "invalid" if wrong else "incomplete" if problems else "verified"
    ticks = [str(c.tick) for c in authentic] or [None]
    genesis = cid(first[ZERO].hash) if [c.prev for c in authentic].count(ZERO) == 1 else None
    heads = [cid(c.hash) for c in authentic if c.hash not in first and not forks] or [None]
    segments = [list(part) for _, part in groupby(authentic, lambda c: c.wasm)]
    return present(  # lineage.md, Report
        format="igor-lineage-report/2", verdict=verdict, did=key and did(key),
        identity="pinned" if pinned else "self-asserted", completeness="head-pinned" if pinned_head else "unpinned",
        publicKey=key and key.hex(), checkpoints=len(supplied), duplicates=duplicates,
        firstTick=ticks[0], lastTick=ticks[-1], genesis=genesis, head=heads[-1], bytes=sum(c.size for c in everything),
        signatures={"valid": len(authentic), "invalid": len(version4) - len(authentic)},
        segments=[{"wasmHash": part[0].wasm.hex(), "firstTick": str(part[0].tick), "lastTick": str(part[-1].tick),
                   "checkpoints": len(part)} for part in segments],
        problems=problems, proves="The holder of its key signed every authentic checkpoint.",
        doesNotProve="Who that is, that there is nothing newer and no other history, or that the states are right.",
        lives=lives_of(authentic, lives) if len(lives) > 1 else None, notLookedAt=not_looked_at(left_out) or None,
        verifier="verify.py 2 (commit unknown, spec 2)")

def section(file):  # of a CAR: its payload, None at the end of the file (car.md, Reading)
    varint = file.read(1)
    while varint and varint[-1] > 127 and len(varint) < 5:
        varint += file.read(1) or b"\0"  # where the file is cut: not the shortest form
    size = sum((byte & 127) << 7 * i for i, byte in enumerate(varint))
    payload = file.read(size) if size <= 36 + LIMIT else b""
    need(varint in (b"", b"\0") or 0 < varint[-1] < 128, "CAR: a length is malformed")
    need(len(payload) == size, "CAR: a section is cut short or too long")
    return payload if varint else None

def read_car(file):
    header, found, named = section(file) or b"", False, False
    if header == b"\xa1\x67version\2":  # car.md, Version 2
        at, size, index = struct.unpack("<16xQQQ", file.read(40).ljust(40, b"\0"))
        need(at >= 51 and (not index or index >= at + size) and at + size < 2**63, "CAR: a malformed CARv2")
        file.read(at - 51)
        inside = file.read(size)
        need(len(inside) == size, "CAR: cut short")
        file = io.BytesIO(inside)
        header = section(file) or b""
    root = header[17:49]
    need(len(root) == 32 and header == root.join(CAR_HEADER), "CAR: not version 1 with one root")
    for payload in iter(lambda: section(file), None):
        digest, data = payload[4:36], payload[36:]
        need(payload[:4] == CID and digest == sha256(data).digest(), "CAR: a block is not what its CID says")
        found |= digest == root
        named |= data[:1] == b"\4" and len(data) >= HEADER[4] and data[81:113] == root
        yield cid(digest).encode(), data
    need(found and not named, "CAR: the root is not the head of the blocks")

EXTENSIONS = {b"ckpt": "checkpoint", b"car": "car", b"gz": "gzip", b"tgz": "gzip", b"txz": "xz", b"bz2": "bzip2", b"zst": "zstd",
              b"htm": "html", b"tlog-proof": "witness", b"fork-proof": "fork-proof", b"handovers": "handovers", b"txt": "text", b"md": "text", b"json": "text", **{k.encode(): k for k in "events wasm zip tar 7z xz html".split()}}
START = [(0, b"\x0a\xa1\x67version\2", "carv2"), (0, b"PK\3\4", "zip"), (0, b"PK\5\6", "zip"), (0, b"PK\7\x08", "zip"), (0, b"\x1f\x8b", "gzip"),
         (0, b"7z\xbc\xaf\x27\x1c", "7z"), (0, b"\xfd7zXZ\0", "xz"), (0, b"BZh", "bzip2"), (0, b"\x28\xb5\x2f\xfd", "zstd"),
         (0, b"version https://git-lfs.github.com/spec/", "lfs-pointer"), (0, b"version https://hawser.github.com/spec/", "lfs-pointer"),
         (0, b"\0\5\x16\7", "macos"), (0, b"\0\5\x16\0", "macos"), (0, b"\0asm", "wasm"), (0, b"igor/execution-receipt/", "receipts"),
         (0, b"igor/payment-receipt/", "receipts"), (0, b"igor/x402-receipt/", "receipts"), (0, b"igor/rent-receipt/", "receipts"), (0, b"igor/fork-proof/", "fork-proof"), (0, b"igor/handover/", "handovers"), (0, b"c2sp.org/tlog-proof@", "witness"),
         (0, b"igor/monitor/", "witness"), (0, b"igor/succession/", "succession"), (9, b"igor/events/", "events"), (9, b"igor/journal/", "journal"),
         (0, b"-----BEGIN PRIVATE KEY-----", "key"), (0, b"-----BEGIN OPENSSH PRIVATE KEY-----", "key"), (257, b"ustar", "tar")]
READ, REFUSED = {"checkpoint", "car", "carv2"}, {"zip", "gzip", "tar", "7z", "xz", "bzip2", "zstd", "lfs-pointer", "html"}

def kind_of(name, start=b""):  # lineage.md, Inputs
    base, extension = name.split(b"/")[-1], name.split(b"/")[-1].lower().rpartition(b".")
    if base.startswith(b"._") or base == b".DS_Store" or b"__MACOSX" in name.split(b"/"):
        return "macos"
    named = EXTENSIONS.get(extension[2]) if extension[1] else None
    if named == "checkpoint" or start[:1] in (b"\2", b"\3", b"\4"):
        return "car" if named == "car" else "checkpoint"
    for at, magic, kind in START:
        if start[at:].startswith(magic):
            return kind
    if re.match(rb"[\x80-\xff]*[\0-\x7f][\xa1-\xbf](\x65roots|\x67version)", start):
        return "car"
    if re.match(rb"(\xef\xbb\xbf)?[ \t\r\n]*<(!doctype html|html|head|body)", start, re.I) and is_text(start):
        return "html"
    if named == "car" or base == b"key":
        return named or "key"
    if is_text(start):
        return "text"
    payload = b"/events/payloads/" in b"/" + name
    return named or {b"receipts": "receipts", b"receipts.x402": "receipts", b"journal": "journal", b"handovers": "handovers", b"head.monitor": "witness", b"succession": "succession"}.get(base) or ("events" if payload else "other")
def is_text(start):
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(start)  # the end may be cut
    except UnicodeDecodeError:
        return False
    return bool(text) and not start.endswith(tuple(b"\xed%c" % i for i in range(0xa0, 0xc0))) and not re.search("[\0-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]", text)

def read(path, left_out):  # the name (lineage.md, Names) and the bytes of each checkpoint
    if path == "-":
        yield from read_car(open(0, "rb"))
    elif not os.path.isdir(path):
        yield from read_file(path, os.fsencode(os.path.basename(path)), None, left_out)
    else:
        empty = True
        for at, folders, files in os.walk(path, onerror=lambda error: need(False, error)):
            for name in folders + files:
                inside = os.fsencode(os.path.relpath(os.path.join(at, name), path))
                link = os.path.islink(os.path.join(at, name)) and os.path.isdir(os.path.join(at, name))
                kind = "folder-link" if link else kind_of(inside)
                segment = kind == "car" and re.fullmatch(rb"[0-9]+(-[0-9]+)?\.car", os.fsencode(name), re.I)
                if link or name in files and kind != "checkpoint" and not segment:
                    left_out.setdefault(kind, []).append(inside)
                elif name in files:
                    for checkpoint in read_file(os.path.join(at, name), inside, kind, left_out):
                        yield checkpoint
                        empty = False
        need(not empty, "%r has no checkpoint" % path)

def read_file(path, name, kind, left_out):
    need(os.path.isfile(path), "%r is not a file" % path)  # a pipe would wait for a writer
    with open(path, "rb") as file:
        kind = kind or kind_of(name, file.read(512))
        need(kind not in REFUSED, "%r is %s" % (path, kind))
        file.seek(0)
        if kind not in READ:
            left_out.setdefault(kind, []).append(name)
        elif kind != "checkpoint":
            yield from read_car(file)
        else:
            data = file.read(LIMIT + 1)
            need(len(data) <= LIMIT, "longer than 64 MiB")
            yield name, data

def main():
    options = argparse.ArgumentParser(allow_abbrev=False)
    options.add_argument("--did", type=parse_did)
    options.add_argument("--head", type=parse_cid)
    options.add_argument("paths", nargs="+")
    wanted, supplied, given, left_out = options.parse_intermixed_args(), {}, 0, {}
    try:
        for name, data in (checkpoint for path in wanted.paths for checkpoint in read(path, left_out)):
            digest = sha256(data).digest()
            c = supplied[digest] = supplied.get(digest) or examine(name, data, digest)  # lineage.md, Link, rule 1
            c.name, given = min(c.name, name), given + 1
        need(supplied, "nothing to verify")
    except (ValueError, OSError, MemoryError, RecursionError) as error:
        options.exit(2, "verify.py: %r\n" % error)
    report = link(supplied, given - len(supplied), wanted.did, wanted.head, left_out)
    sys.stdout.buffer.write(json.dumps(report, indent=2, ensure_ascii=False).encode() + b"\n")
    sys.exit({"verified": 0, "invalid": 1, "incomplete": 3}[report["verdict"]])

if __name__ == "__main__":
    main()
