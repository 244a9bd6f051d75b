#!/usr/bin/env python3
"""Checks a fork proof: python3 witness.py [--witness POLICY] FILE
The other functions say what lies beside a history: heads.md, "Report", and succession.md, "Report".
"""
import argparse, base64, json, struct, sys
from datetime import datetime, timezone
from hashlib import sha256
from verify import LIMIT, ZERO, cid, did, examine, link, need, parse_cid, parse_did, present, signature_problem

HEAD, COMMITMENT, SUCCESSION, FORK = (b"igor/%s/v1\0" % name for name in (b"head", b"commitment", b"succession", b"fork-proof"))

def signed(key, signature, message):
    return signature_problem(key, signature, message) is None
def unbase64(text):  # strictly: nothing else has the same bytes
    data = base64.b64decode(text.encode("ascii"), validate=True)
    need(base64.b64encode(data).decode() == text, "base64 in another spelling")
    return data
def decimal(text, most=2**63 - 1):
    need(text.isascii() and text.isdigit() and str(int(text)) == text and int(text) <= most, "not a number")
    return int(text)
def when(seconds):
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

# Signed notes (c2sp.org/signed-note) and policies (c2sp.org/tlog-policy)
def parse_key(text, kind):
    name, number, encoded = text.split("+", 2)
    data = unbase64(encoded)
    need(len(data) == 33 and data[0] == kind and name and not any(c.isspace() for c in name), "not such a key")
    need(sha256(name.encode() + b"\n" + data).digest()[:4].hex() == number.lower(), "the key's id is another one")
    return name, bytes.fromhex(number), data[1:]

def parse_policy(text):
    policy = {"logs": [], "witnesses": [], "groups": [], "quorum": None, "hash": sha256(text.encode()).hexdigest()}
    for line in text.split("\n"):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "log":
            policy["logs"].append(parse_key(words[1], 1))
        elif words[0] == "witness":
            policy["witnesses"].append((words[1], parse_key(words[2], 4)))
        elif words[0] == "group":
            policy["groups"].append((words[1], {"any": 1, "all": len(words) - 3}.get(words[2]) or decimal(words[2]), words[3:]))
        else:
            need(words[0] == "quorum" and policy["quorum"] is None, "not a line of a policy")
            policy["quorum"] = words[1]
    need(policy["quorum"] and policy["logs"], "a policy without quorum or log")
    return policy

def met(policy, names):
    names = set(names) | {"none"}
    for group, wanted, members in policy["groups"]:
        if sum(member in names for member in members) >= wanted:
            names.add(group)
    return policy["quorum"] in names

def parse_note(data):
    text, split, lines = data.rpartition("\n\n")
    need(split and lines.endswith("\n") and not any(c < " " and c != "\n" for c in data), "not a signed note")
    signatures = []
    for line in lines[:-1].split("\n"):
        dash, name, encoded = line.split(" ", 2)
        signature = unbase64(encoded)
        need(dash == "\u2014" and name and len(signature) > 4, "a malformed signature line")
        signatures.append((name, signature[:4], signature[4:]))
    need(len(signatures) <= 64, "too many signatures")
    return text + "\n", signatures

def signed_by(note, key, cosigns=False):  # the time of a cosignature, True for a signature, None if there is none
    text, signatures = note
    mine = [signature for name, number, signature in signatures if (name, number) == key[:2]]
    if not mine:
        return None
    need(len(mine) == 1, "two signatures by one key")
    if not cosigns:
        need(len(mine[0]) == 64 and signed(key[2], mine[0], text.encode()), "not its signature")
        return True
    need(len(mine[0]) == 72 and mine[0][0] < 128, "not its cosignature")
    time = int.from_bytes(mine[0][:8], "big")
    need(signed(key[2], mine[0][8:], b"cosignature/v1\ntime %d\n%s" % (time, text.encode())), "not its cosignature")
    return time

# Proofs (c2sp.org/tlog-proof)
def parse_proof(data):
    need(len(data) <= 256 << 10, "longer than a proof is")
    text = data.decode()
    top, split, checkpoint = text.partition("\n\n")
    lines = top.split("\n")
    need(split and lines.pop(0) == "c2sp.org/tlog-proof@v1", "not a proof")
    extra = unbase64(lines.pop(0)[6:]) if lines[0].startswith("extra ") else None
    need(lines[0].startswith("index ") and len(lines) <= 64, "a proof without an index")
    hashes = [unbase64(line) for line in lines[1:]]
    note = parse_note(checkpoint)
    origin, size, root = (note[0].split("\n") + ["", ""])[:3]
    need("" not in note[0][:-1].split("\n") and all(len(h) == 32 for h in hashes + [unbase64(root)]), "malformed")
    return {"extra": extra, "index": decimal(lines[0][6:]), "hashes": hashes, "note": note, "origin": origin, "size": decimal(size), "root": unbase64(root)}

def includes(proof, entry):  # RFC 9162, section 2.1.3.2
    fn, sn, digest = proof["index"], proof["size"] - 1, sha256(b"\0" + entry).digest()
    if fn > sn:
        return False
    for h in proof["hashes"]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            digest = sha256(b"\1" + h + digest).digest()
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            digest = sha256(b"\1" + digest + h).digest()
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and digest == proof["root"]

def check_proof(policy, entry, proof):  # heads.md, Proof: the cosigners and by when the quorum was met
    logs = [key for key in policy["logs"] if key[0] == proof["origin"]]
    need(any([signed_by(proof["note"], key) for key in logs]), "no log of the policy signed it")
    need(includes(proof, entry), "the entry is not there")
    times = {name: signed_by(proof["note"], key, True) for name, key in policy["witnesses"]}
    times = {name: time for name, time in times.items() if time is not None}
    need(met(policy, times), "too few witnesses")
    before = None if met(policy, ()) else next(t for t in sorted(times.values()) if met(policy, [n for n in times if times[n] <= t]))
    return times, before

def parse_head(data):  # heads.md, Statement
    need(data is not None and len(data) == 157 and data.startswith(HEAD), "not a head statement")
    key, epoch, tick, checkpoint = struct.unpack_from("<32sQQ32s", data, len(HEAD))
    return {"key": key, "epoch": epoch, "tick": tick, "checkpoint": checkpoint, "authentic": signed(key, data[93:], data[:93])}

def parse_word(data, key):  # heads.md, Monitor
    need(len(data) <= 8 << 10, "longer than a monitor's word is")
    note = parse_note(data.decode())
    need(signed_by(note, key), "not signed by the monitor")
    tag, log, agent, tree, time, heads, latest, forks, end = note[0].split("\n")
    size, root = tree.split(" ")
    words = [time.split(" "), heads.split(" "), latest.split(" "), forks.split(" ")]
    need(tag == "igor/monitor/v1" and end == "" and [w[0] for w in words] == ["time", "heads", "latest", "forks"], "not a monitor's word")
    need([len(w) for w in words] == [2, 2, 4, 2] and len(unbase64(root)) == 32, "not a monitor's word")
    numbers = [decimal(n, 2**64 - 1) for n in (size, words[0][1], words[1][1], words[2][1], words[2][2], words[3][1])]
    parse_cid(words[2][3])
    return {"key": parse_did(agent), "log": log, "size": numbers[0], "root": unbase64(root), "latest": words[2][3], "forks": numbers[5]}

def witnessed(report, policy, proof, monitor=None, word=None):  # heads.md, Report
    try:
        need(proof is not None, "there is no proof")
        proof = parse_proof(proof)
        head = parse_head(proof["extra"])
        need(did(head["key"]) == report.get("did") and head["authentic"], "not this agent's statement")
        times, before = check_proof(policy, proof["extra"], proof)
        said = word and monitor and parse_word(word, monitor)
        if said:
            need(said["key"] == head["key"] and said["log"] == proof["origin"], "a monitor's word about something else")
            need(said["size"] != proof["size"] or said["root"] == proof["root"], "two logs of one name")
            if said["size"] <= proof["index"]:
                said = None
    except (ValueError, IndexError, AttributeError) as error:
        return {"problem": str(error)}
    return present(head=cid(head["checkpoint"]), tick=str(head["tick"]), before=before and when(before), cosigners=list(times),
                   latest=said["latest"] if said else None, forks=str(said["forks"]) if said else None)

def head_missing(report, seen, monitor):  # lineage.md, rule 10
    return not seen or "problem" in seen or seen["head"] != report.get("head") or monitor and seen.get("latest") != report["head"] or seen.get("forks", "0") != "0"

def succeeds(report, statement, old, commitment, policy):  # succession.md, Report
    try:
        need(len(statement) == len(SUCCESSION) + 264 and statement.startswith(SUCCESSION), "not a succession")
        before_key, after_key, head, tick, genesis = struct.unpack_from("<32s32s32sQ32s", statement, len(SUCCESSION))
        message = statement[:-128]
        need(before_key != after_key and signed(before_key, statement[-128:-64], message) and signed(after_key, statement[-64:], message), "not signed by both")
        need(report.get("did") == did(after_key) and report.get("genesis", cid(genesis)) == cid(genesis), "another successor")
        if old:
            need(old.get("did") == did(before_key) and (old["verdict"] != "verified" or old["head"] == cid(head)), "another life, or it went on")
        before = None
        if commitment and policy:
            proof = parse_proof(commitment)
            said = proof["extra"] or b""
            need(len(said) == len(COMMITMENT) + 128 and said.startswith(COMMITMENT), "not a commitment")
            need(said[-128:-96] == before_key and signed(before_key, said[-64:], said[:-64]), "not the old key's commitment")
            need(said[-96:-64] == sha256(after_key).digest(), "a commitment to another successor")
            before = check_proof(policy, said, proof)[1]
    except (ValueError, IndexError, AttributeError) as error:
        return {"problem": str(error)}
    return present(did=did(before_key), tick=str(tick), life=old and old["verdict"], before=before and when(before))

def read_fork(data):  # forkproof.md, Layout
    need(len(data) <= 2 * LIMIT + (1 << 20) and data.startswith(FORK) and len(data) > len(FORK), "not a fork proof")
    kind, data, heads, checkpoints = data[len(FORK)], data[len(FORK) + 1:], [], []
    need(kind in (1, 2, 3), "an unknown kind")
    def piece(most):
        nonlocal data
        size = int.from_bytes(data[:4], "little")
        need(len(data) >= 4 + size and size <= most, "cut short, or too long")
        got, data = data[4:4 + size], data[4 + size:]
        return got
    while kind != 2 and len(heads) < 2:
        head, data = data[:157], data[157:]
        need(len(head) == 157 and head.startswith(HEAD), "not a head statement")
        heads.append((head, piece(256 << 10)))
    while data:
        checkpoints.append(piece(LIMIT))
    need({1: not checkpoints, 2: len(checkpoints) == 2, 3: len(checkpoints) > 0}[kind], "a wrong number of checkpoints")
    return kind, heads, checkpoints

def check_fork(kind, heads, checkpoints, policy=None):  # forkproof.md, Checking
    said, seen = [parse_head(head) for head, _ in heads], [False, False]
    need(all(h["authentic"] and h["key"] == said[0]["key"] for h in said), "a statement is not signed by the one key")
    for i, (head, data) in enumerate(heads):
        if data:
            proof = parse_proof(data)
            need(proof["extra"] is None and includes(proof, head), "a log's proof of something else")
            try:
                seen[i] = bool(policy and check_proof(policy, head, proof))
            except ValueError:
                pass
    found = [examine(b"", data, sha256(data).digest()) for data in checkpoints]
    need(all(c.version == 4 and c.authentic for c in found), "a checkpoint is not authentic")
    if kind == 1:
        a, b = said
        need(a["tick"] == b["tick"] and a["checkpoint"] != b["checkpoint"] and heads[0][0] < heads[1][0], "no fork")
        return a["key"], "two-heads", [a["tick"], b["tick"]], seen
    if kind == 2:
        a, b = found
        need(a.key == b.key and a.prev == b.prev and a.hash < b.hash, "no fork")
        return a.key, "two-checkpoints", [a.tick, b.tick], seen
    earlier, later = said
    need(earlier["tick"] < later["tick"] and found[0].tick >= earlier["tick"], "no fork")
    for want, c in zip([later["checkpoint"]] + [c.prev for c in found], found):
        end = c.tick < earlier["tick"] or c.prev == ZERO
        need(c.hash == want and c.key == later["key"] and c.hash != earlier["checkpoint"] and end == (c is found[-1]), "not the way back")
    return later["key"], "head-off-chain", [earlier["tick"], later["tick"]], seen

def main():
    options = argparse.ArgumentParser(allow_abbrev=False)
    options.add_argument("--witness", type=lambda path: parse_policy(open(path).read()))
    options.add_argument("file")
    wanted = options.parse_args()
    try:
        with open(wanted.file, "rb") as file:
            proof = read_fork(file.read(2 * LIMIT + (1 << 20) + 1))
    except (ValueError, OSError) as error:
        options.exit(2, "witness.py: %r\n" % error)
    try:
        key, kind, ticks, seen = check_fork(*proof, wanted.witness)
    except (ValueError, IndexError, AttributeError) as error:
        print(json.dumps({"proven": False, "problem": str(error)}))
        sys.exit(1)
    print(json.dumps({"proven": True, "did": did(key), "kind": kind, "ticks": [str(t) for t in ticks], "witnessed": seen}))

if __name__ == "__main__":
    main()
