"""What a service answers is recorded, and served again as it was."""

from collections.abc import Mapping
from errno import ENOSPC
from pathlib import Path

import msgspec
import pytest

from qrbackends import Account, Client, NotFound, QRBackendsError, RetryPolicy
from qrbackends.emulator import Emulator, Reset, Status
from qrbackends.emulator.devices.invalid import NoSuchBackend
from qrbackends.emulator.devices.recording import INDEX, RecordedFleet, RecordingWriter
from qrbackends.fleet.recorder import Recorder, RecordingSummary
from qrbackends.service.instances import ServiceInstance
from qrbackends.transport.recording import RecordingPool

from ..emulator.asking import Asker, Got

pytestmark = pytest.mark.anyio

RESOURCES = ("configuration", "properties", "status", "defaults")
REAL = ("ibm_boston", "ibmq_lima", "ibmqx2", "fake_fractional")
ODD: Mapping[str, bytes] = {
    "cut": b'{"backend_name": "cut", "n_qu',
    "no_utf8": b'{"backend_name": "\xff\xfe"}',
    "no_json": b"<html>busy</html>",
    "deep": b"[" * 5000 + b"]" * 5000,
    "types": b'{ "backend_name" : 5,  "n_qubits": "many", "unknown": [1.0, 1e400] }',
    "empty": b"",
    "null": b"null",
}


async def recorded(
    emulator: Emulator,
    directory: Path,
    backends: tuple[str, ...] | None = None,
    account: Account | None = None,
) -> RecordingSummary:
    account = account or emulator.account()
    known = {one.crn: one.name for one in emulator.instances}
    instances = [ServiceInstance(one, known[one.crn]) for one in account.instances]
    async with RecordingPool() as pool, Client(account, pool=pool, retry=RetryPolicy(attempts=1)) as client:
        addresses = await client.addresses()
        recorder = Recorder(client.fetch, pool, account, instances, addresses, directory)
        return await recorder.record(backends)


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


async def answers(emulator: Emulator, resources: tuple[str, ...] = RESOURCES) -> dict[tuple[str, str], Got]:
    async with Asker(emulator) as ask:
        return {
            (name, resource): await ask.get(f"/backends/{name}/{resource}", region)
            for region in emulator.regions
            for name in emulator.backends(region)
            for resource in resources
        }


async def entries(emulator: Emulator) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    async with Asker(emulator) as ask:
        for region in emulator.regions:
            devices = msgspec.json.decode((await ask.get("/backends", region)).body)["devices"]
            raw = msgspec.json.decode(
                (await ask.get("/backends", region)).body, type=dict[str, list[msgspec.Raw]]
            )["devices"]
            found |= {str(one.get("name")): bytes(raw[at]) for at, one in enumerate(devices)}
    return found


async def test_what_is_served_from_a_recording_is_what_was_recorded(tmp_path: Path) -> None:
    fleets = ["snapshots", "synthetic"]
    names = (*REAL, "synthetic_falcon_27", "synthetic_nighthawk_120_b")
    async with Emulator(fleets, backends=names) as source:
        done = await recorded(source, tmp_path)
        before = await answers(source, ("configuration", "properties", "defaults"))
        status = {
            name: msgspec.json.decode((tmp_path / f"status_{name}.json").read_bytes()) for name in names
        }
    assert done.backends == tuple(sorted(names))
    assert done.answers == 4 * len(names)
    assert done.failures == ()
    assert done.size > sum(len(one.body) for one in before.values() if one.status == 200)
    async with Emulator(tmp_path, regions=("us-east",)) as again:
        after = await answers(again)
        listed = await entries(again)
        second = await recorded(again, tmp_path / "again")
    for (name, resource), one in before.items():
        assert after[name, resource].status == one.status, (name, resource)
        assert after[name, resource].body == one.body or one.status == 404
    assert {msgspec.json.encode(status[name]) for name in names} == {
        after[name, "status"].body for name in names
    }
    index = msgspec.json.decode((tmp_path / INDEX).read_bytes(), type=dict[str, msgspec.Raw])
    assert listed == {
        name: bytes(raw)
        for name, raw in msgspec.json.decode(index["entries"], type=dict[str, msgspec.Raw]).items()
    }
    assert b'"status":{"name":"offline"' in listed["synthetic_nighthawk_120_b"]
    assert second == done
    assert len(files(tmp_path)) == done.answers + 1
    assert files(tmp_path) == files(tmp_path / "again")


def write_odd(directory: Path) -> None:
    writer = RecordingWriter(directory)
    for name, body in ODD.items():
        writer.add_entry(name, b'{ "name":"%b",  "queue_length": -1.50, "new field": [{}] }' % name.encode())
        for resource in RESOURCES:
            writer.add_answer(name, resource, 200, body)
    writer.add_entry("refused", b'{"name":"refused","status":7}')
    for resource, status in zip(RESOURCES, (500, 423, 404, 403), strict=True):
        writer.add_answer("refused", resource, status, b'{"errors": [{"code": %d}]}  ' % status)
    writer.add_entry("anything", b'["no object"]')
    writer.close()


async def test_documents_and_entries_that_cannot_be_read_are_recorded_and_served(tmp_path: Path) -> None:
    write_odd(tmp_path / "odd")
    async with Emulator(tmp_path / "odd", regions=("us-east",)) as source:
        done = await recorded(source, tmp_path / "again")
        before = await answers(source)
    async with Emulator(tmp_path / "again", regions=("us-east",)) as again:
        after = await answers(again)
        async with Asker(again) as ask:
            listed = (await ask.get("/backends")).body
            properties = "/backends/types/properties?updated_before=2020-01-01T00:00:00Z"
            assert (await ask.get(properties)).body == ODD["types"]
            assert (await ask.get("/backends/types/properties?calibration_id=x")).status == 404
        async with Client(again.account(), retry=RetryPolicy(attempts=1)) as client:
            for name in ("cut", "no_utf8", "types"):
                with pytest.raises(QRBackendsError):
                    await client.configuration(name)
    for (name, resource), one in before.items():
        if name != "anything":
            found = after[name, resource]
            assert (found.status, found.body) == (one.status, one.body), (name, resource)
            assert one.status != 200 or one.body == ODD[name]
    assert len(listed) > 100
    for raw in (
        b'{ "name":"cut",  "queue_length": -1.50, "new field": [{}] }',
        b'["no object"]',
        b'"status":7',
    ):
        assert raw in listed
    assert done.backends == tuple(sorted((*ODD, "refused", "entry_1")))
    for name in ODD:
        assert any(name in failure for failure in done.failures), name
    assert sum("refused" in failure for failure in done.failures) >= 4


async def test_nothing_that_identifies_the_account_is_recorded(tmp_path: Path) -> None:
    source = tmp_path / "source"
    emulator = Emulator(source, regions=("us-east", "eu-de"))
    instance = emulator.instances[0]
    *_, owner, guid, _, _ = instance.crn.split(":")
    hidden = [instance.crn, owner.removeprefix("a/"), guid, instance.name, emulator.api_keys[0]]
    text = " ".join(hidden)
    planted = msgspec.json.encode({"a": text, "b": {text: [text, {"c": text}]}})
    writer = RecordingWriter(source)
    for name, status in (("alpha", 200), ("beta", 400)):
        writer.add_entry(name, msgspec.json.encode({"name": name, "new": text, text: [text]}))
        for resource in RESOURCES:
            writer.add_answer(name, resource, status, planted + b"cut {")
    writer.add_entry(text, msgspec.json.encode({"name": text}))
    writer.add_answer(text, "configuration", 200, planted)
    writer.close()
    async with emulator:
        done = await recorded(emulator, tmp_path / "recorded")
    assert done.answers == 12
    written = files(tmp_path / "recorded")
    everything = b"".join((*written.values(), *map(str.encode, written)))
    assert everything.count(b"instance-1") >= 9 * 4 + 2 * 3 + 2
    for one in hidden:
        assert one.encode() not in everything, one


async def test_the_token_that_the_recorder_got_is_not_recorded(tmp_path: Path) -> None:
    write_odd(tmp_path)
    async with Emulator(tmp_path, regions=("us-east",)) as emulator, Asker(emulator) as ask:
        await ask.log_in()
        payload = ask.token.split(".")[1]  # of this no pattern knows that it is a token's
        (tmp_path / "conf_cut.json").write_bytes(b'{"token": "%b"}' % payload.encode())
        account = Account(token=ask.token, instances=emulator.account().instances)
        await recorded(emulator, tmp_path / "again", ("cut",), account=account)
    assert (tmp_path / "again" / "conf_cut.json").read_bytes() == b'{"token": "***"}'


async def test_the_tokens_that_were_sent_are_credentials() -> None:
    async with Emulator("synthetic", regions=("us-east",)) as emulator, RecordingPool() as pool:
        async with Client(emulator.account(), pool=pool) as client:
            name = (await client.backends())[0].name
            url = f"{emulator.url('us-east')}/backends/{name}/configuration"
            crn = emulator.instances[0].crn
            assert pool.take(crn, url) is None
            configuration = await client.configuration(name)
        answer = pool.take(crn, url)
        assert answer is not None
        assert msgspec.json.decode(answer.body)["n_qubits"] == configuration.n_qubits
        assert pool.take(crn, url) is None, "it was taken"
        (token,) = pool.credentials
        assert token.startswith("eyJ")


async def test_a_retired_device_is_recorded_if_it_is_named(tmp_path: Path) -> None:
    async with Emulator("synthetic") as source:
        name = source.backends()[0]
        source.set_backend(name, retired=True)
        assert name not in (await recorded(source, tmp_path / "all")).backends
        done = await recorded(source, tmp_path / "one", (name,))
        with pytest.raises(NoSuchBackend, match=f"no backend '{name[:-1]}'; did you mean "):
            await recorded(source, tmp_path / "none", (name[:-1], source.backends()[1]))
        assert not (tmp_path / "none").exists()
    assert (done.backends, done.answers) == ((name,), 4)
    async with Emulator(tmp_path / "one") as again, Client(again.account()) as client:
        assert list(await client.backends()) == []
        assert (await client.properties(name)).backend_name == name


async def test_an_answer_that_does_not_come_is_told_and_stops_nothing(tmp_path: Path) -> None:
    async with Emulator("synthetic") as source:
        name, other = source.backends("us-east")[:2]
        source.fault(Reset(), resource="properties", backend=name, times=None)
        source.fault(Status(503), resource="status", backend=name, times=None)
        done = await recorded(source, tmp_path, (name, other))
    assert done.answers == 7
    assert len(done.failures) == 2
    assert all(name in failure for failure in done.failures)
    async with Emulator(tmp_path) as again, Client(again.account(), retry=RetryPolicy(attempts=1)) as client:
        with pytest.raises(NotFound):
            await client.properties(name)
        with pytest.raises(QRBackendsError, match="503"):
            await client.status(name)
        assert (await client.configuration(name)).backend_name == name
        assert len((await client.properties(other)).qubits) > 0


async def test_a_list_that_cannot_be_read_is_kept_beside_what_was_named(tmp_path: Path) -> None:
    async with Emulator("synthetic") as source:
        name = source.backends("eu-de")[0]
        source.fault(Status(200, body=b'{"devices": ['), resource="backends", region="us-east", times=None)
        source.fault(Status(200, body=b'{"devices": 5}'), resource="backends", region="eu-de", times=None)
        with pytest.raises(QRBackendsError):
            await recorded(source, tmp_path / "all")
        done = await recorded(source, tmp_path, (name,))
    assert done.answers == 4
    assert (tmp_path / "list_1.txt").read_bytes() == b'{"devices": ['
    assert (tmp_path / "list_2.txt").read_bytes() == b'{"devices": 5}'
    assert RecordedFleet(tmp_path).device(name).recorded is not None


async def test_a_recorded_device_can_be_set_to_another_status(tmp_path: Path) -> None:
    write_odd(tmp_path)
    async with Emulator(tmp_path, regions=("us-east",)) as emulator, Asker(emulator) as ask:
        emulator.set_backend("cut", status="offline", reason="broken", queue_length=3)
        listed = (await ask.get("/backends")).json()["devices"]
        entry = next(one for one in listed if isinstance(one, dict) and one["name"] == "cut")
        assert entry["status"] == {"name": "offline", "reason": "broken"}
        assert entry["queue_length"] == 3
        assert (await ask.get("/backends/cut/status")).json()["status"] == "maintenance"
        assert (await ask.get("/backends/cut/configuration")).body == ODD["cut"]
        await emulator.reset()
        assert (await ask.get("/backends/cut/status", Authorization=None)).status == 401
        await ask.log_in()
        assert (await ask.get("/backends/cut/status")).body == ODD["cut"]


async def test_files_have_names_that_every_disk_takes(tmp_path: Path) -> None:
    names = ("a/b", "A/B", "..", "x" * 400, "x" * 400 + "y", "ibm_µ")
    writer = RecordingWriter(tmp_path)
    for name in names:
        writer.add_answer(name, "configuration", 200, name.encode())
    writer.close()
    fleet = RecordedFleet(tmp_path)
    assert fleet.names == tuple(sorted(names))
    for name in names:
        assert fleet.build(fleet.find("configuration", name, None, None, 0.0)) == name.encode()
    written = files(tmp_path)
    assert len({one.casefold() for one in written}) == len(names) + 1
    assert max(map(len, written)) < 120
    assert all(one.isascii() and "/" not in one for one in written)


def write_one(directory: Path, name: str = "x", status: int = 200) -> RecordingWriter:
    writer = RecordingWriter(directory)
    writer.add_entry(name, b'{"name":"%b"}' % name.encode())
    writer.add_answer(name, "status", status, b"{}")
    writer.add_broken_list(1, b"{")
    return writer


async def test_a_second_recording_takes_the_place_of_the_first(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear")
    write_one(tmp_path, "x", 500).close()
    (first, second) = (write_one(tmp_path, "y"), {"letter.txt", "status_y.json", "list_1.txt"})
    assert set(files(tmp_path)) == second, "what was interrupted is no recording"
    first.close()
    assert set(files(tmp_path)) == second | {INDEX}
    index = b'{"entries":{},"answers":{},"broken_lists":["%b"]}'
    for wrong in (b"{", index % b"../y", index % b".."):
        (tmp_path / "letters").mkdir(exist_ok=True)
        (tmp_path / "letters" / INDEX).write_bytes(wrong)
        (tmp_path / "y").write_text("mine")
        write_one(tmp_path / "letters").close()
        assert RecordedFleet(tmp_path / "letters").names == ("x",)
        assert (tmp_path / "y").read_text() == "mine"


@pytest.mark.parametrize("full_at", ["props_", "recording"])
async def test_a_full_disk_leaves_no_part_of_a_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_at: str
) -> None:
    write = Path.write_bytes

    def write_a_part(path: Path, data: bytes) -> int:
        if not path.name.startswith(full_at):
            return write(path, data)
        write(path, data[:9])
        raise OSError(ENOSPC, "No space left on device")

    (tmp_path / "letter.txt").write_text("Dear")
    monkeypatch.setattr(Path, "write_bytes", write_a_part)
    async with Emulator("synthetic", backends=["synthetic_falcon_27"]) as source:
        with pytest.raises(OSError, match=f"No space left on device: '.*{full_at}"):
            await recorded(source, tmp_path)
    assert set(files(tmp_path)) == {"letter.txt"}


@pytest.mark.parametrize("resource", RESOURCES)
@pytest.mark.parametrize("file", ["gone", "a\0b", "..", "sub"])
def test_a_file_that_is_missing_is_told_at_the_start(tmp_path: Path, file: str, resource: str) -> None:
    (tmp_path / "sub").mkdir()
    answers = {"x": {resource: {"file": file, "status": 200}}}
    (tmp_path / INDEX).write_bytes(msgspec.json.encode({"entries": {}, "answers": answers}))
    with pytest.raises(FileNotFoundError, match="names a file that is not there"):
        RecordedFleet(tmp_path)


@pytest.mark.parametrize("status", [-1, 0, 99, 100, 199, 600, 9999])
def test_a_status_that_is_none_is_told_at_the_start(tmp_path: Path, status: int) -> None:
    write_one(tmp_path, status=status).close()
    with pytest.raises(msgspec.ValidationError, match="status"):
        RecordedFleet(tmp_path)


@pytest.mark.parametrize("file", ["../secret", "/etc/passwd", "sub/conf_x.json", ""])
async def test_an_index_names_no_files_elsewhere(tmp_path: Path, file: str) -> None:
    answers = {"x": {"configuration": {"file": file, "status": 200}}}
    (tmp_path / INDEX).write_bytes(msgspec.json.encode({"entries": {}, "answers": answers}))
    with pytest.raises(msgspec.ValidationError, match="outside"):
        RecordedFleet(tmp_path)
