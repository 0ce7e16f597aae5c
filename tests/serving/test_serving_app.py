"""The application answers as LibreTranslate does, and refuses what it cannot answer."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shouting_model import Shouting, fetch
from starlette.testclient import TestClient

from kdray.model.generate import SearchOptions
from kdray.serving.app import application
from kdray.serving.limits import RequestLimits
from kdray.serving.models import ServedModel
from kdray.serving.service import Service, digest
from kdray.translation.texts import translate_texts

ASKED = {"q": "guten tag", "source": "de", "target": "en"}


@pytest.fixture(scope="module")
def loud_client(tmp_path_factory):
    model = ServedModel("loud", "de", "en", Shouting(), fetch, tmp_path_factory.mktemp("loud"))
    app = application(Service((model,), limits=RequestLimits(body_bytes=1_000_000)))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def error_of(answer):
    """The only thing that an answer with an error holds."""
    assert list(answer.json()) == ["error"]
    return answer.json()["error"]


@pytest.mark.parametrize("how", ["json", "form", "parts", "query"])
def test_every_way_to_ask_has_the_same_answer(how, shouting, client_of):
    client = client_of(shouting())
    given = {
        "json": {"json": ASKED},
        "form": {"data": ASKED},
        "parts": {"files": {name: (None, value) for name, value in ASKED.items()}},
        "query": {"params": ASKED},
    }[how]
    answer = client.post("/translate", **given)
    assert (answer.status_code, answer.json()) == (200, {"translatedText": "GUTEN TAG!"})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"q": ["a", "b"]}, {"translatedText": ["A!", "B!"]}),
        ({"q": "a\n\n  \r\nb c"}, {"translatedText": "A!\n\n\nB C!"}),
        ({"q": "a b c. d e"}, {"translatedText": "A B C.! D E!"}),
        ({"q": "ä ß ✓"}, {"translatedText": "Ä SS ✓!"}),
        ({"alternatives": 2, "q": "a"}, {"translatedText": "A!", "alternatives": ["A!!", "A!!!"]}),
        ({"alternatives": 1, "q": ["a", ""]},
         {"translatedText": ["A!", ""], "alternatives": [["A!!"], []]}),
        ({"alternatives": 1, "q": "a\n\nb"},
         {"translatedText": "A!\n\nB!", "alternatives": ["A!!\n\nB!!"]}),
        ({"source": "auto", "q": "a"},
         {"translatedText": "A!", "detectedLanguage": {"confidence": 0.0, "language": "de"}}),
        ({"format": "text", "q": "a"}, {"translatedText": "A!"}),
        ({"format": "html", "q": "<p>a b</p>\n<p/>", "alternatives": 1},
         {"translatedText": "<p>A B!</p>\n<p/>", "alternatives": ["<p>A B!!</p>\n<p/>"]}),
        ({"format": "html", "q": ["<br>", "a &amp; b"]},
         {"translatedText": ["<br>", "A &amp; B!"]}),
    ],
)  # fmt: skip
def test_answers_have_the_shape_that_clients_know(fields, expected, shouting, client_of):
    answer = client_of(shouting()).post("/translate", json={**ASKED, **fields})
    assert (answer.status_code, answer.json()) == (200, expected)


LIMITS = RequestLimits(body_bytes=2000, chars=50, texts=3, sentences=4, waiting=4)


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"q": ""}, 400, "missing q parameter"),
        ({"q": None}, 400, "missing q parameter"),
        ({"q": []}, 400, "missing q parameter"),
        ({"q": 7}, 400, "q must be text"),
        ({"q": ["a", None]}, 400, "q must be text"),
        ({"q": {"a": 1}}, 400, "q must be text"),
        ({"q": "a\x00b"}, 400, "control character U+0000 at 1"),
        ({"q": "\ud83d"}, 400, "half of a surrogate pair"),
        ({"source": ""}, 400, "missing source parameter"),
        ({"target": None}, 400, "missing target parameter"),
        ({"source": ["de"]}, 400, "source must be text"),
        ({"source": "xx"}, 400, "xx is not supported"),
        ({"target": "auto", "source": "auto"}, 400, "auto is not supported"),
        ({"source": "en", "target": "de"}, 400,
         "German (de) is not available as a target language from English (en)"),
        ({"format": "pdf"}, 400, "pdf format is not supported"),
        ({"format": ["html"]}, 400, "format must be text"),
        ({"alternatives": -1}, 400, "alternatives must be a number"),
        ({"alternatives": "many"}, 400, "alternatives must be a number"),
        ({"model": "quiet"}, 400, "model 'quiet' is not served; there are loud"),
        ({"q": "x" * 51}, 400, "(51) exceeds text limit (50 characters)"),
        ({"q": ["a"] * 4}, 400, "(4) exceeds text limit (3 texts)"),
        ({"q": "a. b. c. d. e"}, 400, "(5) exceeds text limit (4 sentences)"),
        ({"q": "a\nb c d e f"}, 400, "line 2 has a sentence that is longer than the 4 tokens"),
        ({"q": ["a", "b c d e f"]}, 400, "text 2, line 1 has a sentence"),
        ({"q": "x" * 3000}, 413, "exceeds the limit of 2000 bytes"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_one_sentence(fields, status, words, shouting, client_of):
    client = client_of(shouting(), limits=LIMITS)
    body = json.dumps({**ASKED, **fields})
    answer = client.post("/translate", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert words in error_of(answer)
    assert client.post("/translate", json=ASKED).status_code == 200


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[" * 1999, "application/json", 400),
        (b"q=%ff&source=de&target=en", "application/x-www-form-urlencoded", 400),
        (b"&".join([b"a=1"] * 400) + b"&q", "application/x-www-form-urlencoded", 400),
        (b"nothing", "multipart/form-data; boundary=x", 400),
        (b"nothing", "multipart/form-data", 400),
        (b"\x00\x01", "application/octet-stream", 415),
        (b"", "", 400),
        (b"x" * 2001, "text/plain", 413),
    ],
)
def test_a_body_that_is_nothing_is_refused(body, kind, status, shouting, client_of):
    client = client_of(shouting(), limits=LIMITS)
    answer = client.post("/translate", content=body, headers={"content-type": kind})
    assert answer.status_code == status
    assert error_of(answer)


PIECES = [
    b"--x", b"--x--", b"--y", b"\r\n", b"\r\n\r\n", b":", b"de", b"\xff", b"\x00",
    b"Content-Disposition: form-data; name=", b'"q"', b'"source"', b";name*=utf-8''%ff",
    b"Content-Type: multipart/mixed; boundary=x", b"Content-Type: multipart/mixed; boundary=y",
    b"Content-Transfer-Encoding: base64", b"=?utf-8?q?=ff?=",
]  # fmt: skip
KINDS = ["multipart/form-data; boundary=x", "multipart/form-data; boundary*=utf-8''x",
         "application/x-www-form-urlencoded", "application/json"]  # fmt: skip


@given(
    pieces=st.lists(st.sampled_from(PIECES) | st.binary(max_size=4)), kind=st.sampled_from(KINDS)
)
def test_whatever_is_sent_is_an_error_of_whoever_sent_it(pieces, kind, loud_client):
    answer = loud_client.post(
        "/translate", content=b"".join(pieces), headers={"content-type": kind}
    )
    assert answer.status_code == 400
    assert error_of(answer)


def test_names_that_are_no_text_are_refused(loud_client):
    part = b'--x\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n\xff\r\n--x--'
    kind = {"content-type": "multipart/form-data; boundary=x"}
    assert loud_client.post("/translate", content=part, headers=kind).status_code == 400
    lone = {"q": "a", "model": "\ud83d"}
    for path in ("/gate", "/translate"):
        body = json.dumps(ASKED | lone)
        kind = {"content-type": "application/json"}
        assert loud_client.post(path, content=body, headers=kind).status_code == 400


def test_forms_within_forms_are_refused(loud_client):
    nested = b"".join(
        b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (n, n + 1)
        for n in range(3000)
    )
    kind = {"content-type": "multipart/form-data; boundary=b0"}
    assert loud_client.post("/translate", content=nested, headers=kind).status_code == 400


def test_a_body_without_a_length_is_read_no_further_than_it_may_be(shouting, client_of):
    read = []

    def endless():
        for number in range(10_000):
            read.append(number)
            yield b"x" * 100

    answer = client_of(shouting(), limits=LIMITS).post("/translate", content=endless())
    assert answer.status_code == 413


def test_unknown_paths_and_methods_are_errors_of_the_same_shape(shouting, client_of):
    client = client_of(shouting())
    for method, path, status in (
        ("GET", "/nowhere", 404), ("GET", "/translate", 405), ("POST", "/detect", 501),
        ("POST", "/suggest", 403), ("POST", "/translate_file", 403),
    ):  # fmt: skip
        answer = client.request(method, path)
        assert answer.status_code == status, path
        assert error_of(answer)


def test_what_clients_ask_first_is_told(shouting, client_of):
    client = client_of(shouting(), shouting("other", "fr", "en"), shouting("back", "en", "de"))
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/languages").json() == [
        {"code": "de", "name": "German", "targets": ["en"]},
        {"code": "fr", "name": "French", "targets": ["en"]},
        {"code": "en", "name": "English", "targets": ["de"]},
    ]
    settings = client.get("/frontend/settings").json()
    assert settings["language"]["source"] == {"code": "de", "name": "German"}
    assert (settings["charLimit"], settings["keyRequired"]) == (10_000, False)


def test_the_pair_of_languages_or_a_name_chooses_the_model(shouting, client_of):
    client = client_of(
        shouting("one", mark="1"), shouting("two", mark="2"), shouting("fr", "fr", "en", mark="3")
    )

    def text(**fields):
        return client.post("/translate", json={**ASKED, "q": "a", **fields}).json()

    assert text() == {"translatedText": "A1"}
    assert text(source="fr") == {"translatedText": "A3"}
    named = text(model="two")
    assert (named["translatedText"], named["model"]) == ("A2", "two")
    assert named["milliseconds"] >= 0
    assert "name the source, one of de, fr" in text(source="auto")["error"]
    assert "not available as a target" in text(model="two", source="fr")["error"]


def test_a_key_is_asked_for_where_there_is_one(shouting, client_of):
    client = client_of(shouting(), key=digest("sésame"))
    open_ones = ("/", "/health", "/languages", "/frontend/settings", "/models")
    assert all(client.get(path).status_code == 200 for path in open_ones)
    assert client.get("/models").json()["keyRequired"]
    for key, status in (({}, 403), ({"api_key": "wrong"}, 403), ({"api_key": ["sésame"]}, 403),
                        ({"api_key": "sésame"}, 200)):  # fmt: skip
        assert client.post("/translate", json=ASKED | key).status_code == status
        assert client.post("/gate", json=ASKED | key).status_code == (403 if status == 403 else 400)
    bearer = client_of(shouting(), key=digest("k")).post(
        "/translate", json=ASKED, headers={"authorization": "Bearer k"}
    )
    assert bearer.status_code == 200


def test_a_queue_that_is_full_answers_503_and_empties_again(shouting, client_of):
    client = client_of(shouting(seconds=0.5), limits=RequestLimits(waiting=2))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post("/translate", json=ASKED), range(8)))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 503}
    full = answers[statuses.index(503)]
    assert "try again" in error_of(full)
    assert full.headers["retry-after"] == "1"
    assert client.post("/translate", json=ASKED).status_code == 200


def test_a_model_that_fails_is_an_error_and_the_server_goes_on(shouting, client_of):
    client = client_of(shouting())
    answer = client.post("/translate", json=ASKED | {"q": "poison"})
    assert answer.status_code == 500
    assert "Cannot translate text" in error_of(answer)
    assert client.post("/translate", json=ASKED).status_code == 200


def test_pages_of_other_sites_may_ask_only_where_they_are_allowed(shouting, client_of):
    origin = {"origin": "https://example.org"}
    name = "access-control-allow-origin"
    assert name not in client_of(shouting()).post("/translate", json=ASKED, headers=origin).headers
    allowed = client_of(shouting(), origins=("https://example.org",))
    assert allowed.post("/translate", json=ASKED, headers=origin).headers[name] == origin["origin"]


@pytest.mark.slow
def test_a_student_answers_as_it_translates_files(served_student, client_of, tmp_path):
    client = client_of(served_student, threads=2)
    q = ["ba de fi", "", "go " * 20, "hu ka le. mi no"]
    answer = client.post("/translate", json={**ASKED, "q": q})
    assert answer.status_code == 400
    assert "text 3, line 1 has a sentence that is longer than the 16 tokens" in error_of(answer)
    texts = [q[0], q[1], q[3]]
    answer = client.post("/translate", json={**ASKED, "q": texts})
    teacher = served_student.teacher
    engine = teacher.open(served_student.fetch, device="cpu", threads=1, work=served_student.work)
    expected = translate_texts(engine, texts, SearchOptions(5))
    assert answer.json()["translatedText"] == [each.best[0].text for each in expected]
    (told,) = client.get("/models").json()["models"]
    assert told["parameters"] == teacher.num_params(served_student.fetch)
    assert told["gate"] is None
