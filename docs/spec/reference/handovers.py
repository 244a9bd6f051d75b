#!/usr/bin/env python3
"""Judges records of hand-overs (handover.md): python3 handovers.py VECTOR.json... says of each what it comes to."""
import json, struct, sys
from hashlib import sha256
import verify

SIZE, TAG = 313, b"igor/handover/v1\0"

def parse(data):
    verify.need(len(data) % SIZE == 0 and len(data) // SIZE <= 65536, "cut short, unknown or too long")
    for at in range(0, len(data), SIZE):
        raw = data[at:at + SIZE]
        fields = struct.unpack("<17s32s32s32s32sQ32s64s64s", raw)
        verify.need(fields[0] == TAG and fields[5] and any(fields[1]) and any(fields[2]), "cut short, unknown or too long")
        yield raw, fields[1:]

def alone(agent, raw, fields):
    _, _, source, target, _, _, signed, by_agent = fields
    problems = [verify.signature_problem(key, bytes(64), b"") for key in (source, target, agent)]
    if "weak-key" in problems:
        return "weak-key"
    if source == target:
        return "same-node"
    if verify.signature_problem(target, signed, raw[:185]):
        return "bad-countersignature"
    return verify.signature_problem(agent, by_agent, raw[:249])

def judge(report, checkpoints, records):
    agent = bytes.fromhex(report["publicKey"])
    ticks = {c.hash: c.tick for c in checkpoints if c.version == 4 and c.authentic and c.key == agent}
    judged = []
    for raw, fields in sorted(set(records), key=lambda r: (r[1][4], r[0])):
        genesis, head, source, target, number = fields[:5]
        problem = alone(agent, raw, fields)
        if not problem and verify.cid(genesis) != report.get("genesis", verify.cid(genesis)):
            problem = "other-life"
        if not problem and head not in ticks:
            problem = "unknown-head"
        judged.append(verify.present(number=str(number), **{"from": verify.did(source)}, to=verify.did(target), head=verify.cid(head),
                                     tick=str(ticks[head]) if head in ticks else None, problem=problem))
    signed = [j["number"] for j in judged if j.get("problem") in (None, "unknown-head")]
    newest = -1
    for j in judged:
        if j.get("problem") in (None, "unknown-head") and signed.count(j["number"]) > 1:
            j["problem"] = "conflict"
        if "problem" not in j:
            if int(j["tick"]) < newest:
                j["problem"] = "order"
            else:
                newest = int(j["tick"])
    return judged

def main(paths):
    bad = 0
    for path in paths:
        vector = json.load(open(path))
        supplied = {}
        for text in vector["checkpoints"]:
            data = bytes.fromhex(text)
            digest = sha256(data).digest()
            supplied[digest] = verify.examine(verify.cid(digest).encode(), data, digest)
        pinned = verify.parse_did(vector["did"]) if "did" in vector else None
        report = verify.link(supplied, 0, pinned, None, {})
        want = vector["expect"]
        try:
            got, error = judge(report, supplied.values(), list(parse(bytes.fromhex(vector["handovers"])))), False
        except ValueError:
            got, error = [], True
        if (report["verdict"], got, error) != (want["verdict"], want["handovers"], "error" in want):
            bad += 1
            print(path, report["verdict"], got, error, file=sys.stderr)
    print(len(paths), "vectors")
    return bad

if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
