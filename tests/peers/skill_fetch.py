"""A skill in Python that fetches one address twice: with urllib and with requests. Knows nothing of proxies."""
import json
import sys
import urllib.error
import urllib.request

sys.path[:0] = sys.argv[1:]
import requests  # noqa: E402


def by_urllib(url):
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return [answer.status, answer.read().decode()]
    except urllib.error.HTTPError as error:
        return [error.code, error.read().decode()]
    except OSError as error:
        return [0, str(error)]


def by_requests(url):
    try:
        answer = requests.get(url, timeout=30)
        return [answer.status_code, answer.text]
    except requests.RequestException as error:
        return [0, str(error)]


url = json.load(sys.stdin)["arguments"]["url"]
said = {"urllib": by_urllib(url), "requests": by_requests(url)}
print(json.dumps({"text": json.dumps(said)}))
