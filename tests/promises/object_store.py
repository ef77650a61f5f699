"""A stand-in for Google Cloud Storage: its JSON API, in memory, on 127.0.0.1.

What gcsfs, orbax, tensorstore and google-cloud-storage ask for, with the
service's semantics: an object appears when its upload is whole, generations
and their preconditions, listings in pages, no folders, no rename of many.
"""

import dataclasses
import email
import http.server
import itertools
import json
import re
import threading
import time
import urllib.parse

PAGE = 50  # Objects in a page of a listing; the service sends up to 1000.
_SECONDS_BETWEEN_WRITES = 1.0  # Of one object; the service's limit.


class ApiError(Exception):
  """An answer with a status of 300 and more."""

  def __init__(self, status, message):
    super().__init__(message)
    self.status, self.message = status, message


@dataclasses.dataclass
class Object:
  """What is stored under one name."""

  content: bytes
  generation: int
  written: float


class ObjectStore:
  """A server with one bucket; as a context, it runs.

  Attributes:
    objects: what the bucket holds, by name.
    requests: method and name, or path, of all there have been.
    held: pattern of the names whose uploads wait, or None.
    waiting: names of those that do.
    private: whether requests without a token are refused.
    closed: whether what is known of the bucket itself is told to nobody.
    limited: whether the service's limit on overwriting holds.
  """

  def __init__(self, bucket='bucket'):
    self.bucket, self.objects, self.requests = bucket, {}, []
    self.held, self.waiting = None, []
    self.private = self.closed = self.limited = False
    self._generations, self._uploads = itertools.count(1), {}
    self._lock = threading.Lock()

  def __enter__(self):
    handler = type('Handler', (_Handler,), {'store': self})
    self._server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    self._server.daemon_threads = True
    # What is left of a killed process is no news.
    self._server.handle_error = lambda *unused: None
    threading.Thread(target=self._server.serve_forever, daemon=True).start()
    return self

  def __exit__(self, *unused):
    self.held = None
    self._server.shutdown()
    self._server.server_close()

  @property
  def url(self):
    return f'http://127.0.0.1:{self._server.server_port}'

  @property
  def environment(self):
    """Variables that send all clients here."""
    # Google's name in the path lets gcsfs delete in batches, as it does there.
    google = f'{self.url}/storage.googleapis.com'
    return {
      'STORAGE_EMULATOR_HOST': google,
      'TENSORSTORE_GCS_HTTP_URL': self.url,
      'GOOGLE_AUTH_TOKEN_FOR_TESTING': 'token',
      'NO_GCE_CHECK': 'true',
      # The storage control API is gRPC alone.
      'GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT': 'false',
    }

  def names(self, pattern=''):
    """Returns the names of objects, sorted, in which a pattern is found."""
    return sorted(n for n in list(self.objects) if re.search(pattern, n))

  def text(self, name):
    """Returns the content of an object; '' where there is none."""
    found = self.objects.get(name)
    return found.content.decode() if found else ''

  def release(self):
    """Drops the uploads that wait, as those of a process that was killed."""
    self.held = None
    self.waiting.clear()

  def write(self, name, content, query):
    """Stores an object, where the preconditions hold."""
    if self.held and re.search(self.held, name):
      self.waiting.append(name)
      while self.held:
        time.sleep(0.01)
      raise ConnectionAbortedError(name)
    with self._lock:
      before = self.objects.get(name)
      _check(before, query, 412)
      now = time.monotonic()
      quiet = now - before.written if before else _SECONDS_BETWEEN_WRITES
      if self.limited and quiet < _SECONDS_BETWEEN_WRITES:
        raise ApiError(429, 'The object exceeded the rate limit.')
      found = Object(bytes(content), next(self._generations), now)
      self.objects[name] = found
      return self.describe(name, found)

  def get(self, name, query, status=412):
    """Returns an object, where it is there and the preconditions hold."""
    with self._lock:
      found = self.objects.get(name)
      if found is None and 'ifGenerationNotMatch' not in query:
        raise ApiError(404, f'No such object: {self.bucket}/{name}')
      _check(found, query, status)
      if found is None:
        raise ApiError(404, f'No such object: {self.bucket}/{name}')
      return found

  def delete(self, name, query):
    """Removes an object, where the preconditions hold."""
    with self._lock:
      if name not in self.objects:
        raise ApiError(404, f'No such object: {self.bucket}/{name}')
      _check(self.objects[name], query, 412)
      del self.objects[name]

  def begin(self, name, query):
    """Begins a resumable upload; returns its number."""
    with self._lock:
      number = str(next(self._generations))
      self._uploads[number] = name, query, bytearray()
      return number

  def go_on(self, number, content, span):
    """Adds to a resumable upload; returns the object when it is whole."""
    name, query, before = self._uploads[number]
    first, total = re.fullmatch(r'bytes (\*|\d+-\d+)/(\*|\d+)', span).groups()
    if first != '*' and int(first.partition('-')[0]) != len(before):
      raise ApiError(400, 'A chunk that does not follow the last one.')
    if total == '*' or len(before) + len(content) < int(total):
      before += content
      return len(before), None
    whole = self.write(name, before + content, query)  # May be refused.
    del self._uploads[number]
    return int(total), whole

  def list(self, query):
    """Returns a page of the names that begin with a prefix."""
    prefix, delimiter = query.get('prefix', ''), query.get('delimiter')
    first = max(query.get('startOffset', ''), query.get('pageToken', ''))
    end, limit = query.get('endOffset'), int(query.get('maxResults', PAGE))
    items, prefixes = [], []
    with self._lock:
      for name in sorted(self.objects):
        if not name.startswith(prefix) or (end and name >= end):
          continue
        rest = name[len(prefix) :]
        folder = None
        if delimiter and delimiter in rest:
          folder = prefix + rest.partition(delimiter)[0] + delimiter
        if (folder or name) < first or folder in prefixes:
          continue
        if len(items) + len(prefixes) == min(limit, PAGE):
          page = {'nextPageToken': folder or name}
          break
        if folder:
          prefixes.append(folder)
        else:
          items.append(self.describe(name, self.objects[name]))
      else:
        page = {}
    return page | {
      'kind': 'storage#objects',
      'items': items,
      'prefixes': prefixes,
    }

  def describe(self, name, found):
    """Returns an object's resource."""
    return {
      'kind': 'storage#object',
      'bucket': self.bucket,
      'name': name,
      'size': str(len(found.content)),
      'generation': str(found.generation),
      'metageneration': '1',
      'updated': '2026-01-01T00:00:00.000Z',
      'timeCreated': '2026-01-01T00:00:00.000Z',
    }


def _check(found, query, status):
  """Raises where a precondition on the generation does not hold."""
  generation = found.generation if found else 0
  if int(query.get('ifGenerationMatch', generation)) != generation:
    raise ApiError(412, 'conditionNotMet')
  if int(query.get('ifGenerationNotMatch', -1)) == generation:
    raise ApiError(status, 'conditionNotMet')


class _Handler(http.server.BaseHTTPRequestHandler):
  """One connection."""

  protocol_version = 'HTTP/1.1'
  disable_nagle_algorithm = True
  wbufsize = -1  # A small answer is one packet.

  def answer(self):
    content = self.rfile.read(int(self.headers.get('Content-Length') or 0))
    try:
      if self.store.private and 'Authorization' not in self.headers:
        raise ApiError(
          401, 'Anonymous caller does not have storage.objects.list access.'
        )
      self.send(*self.route(self.command, self.path, content))
    except ApiError as error:
      self.send(error.status, _error(error))
    except (ConnectionError, BrokenPipeError):
      self.close_connection = True

  do_GET = do_POST = do_PUT = do_DELETE = answer

  def route(self, method, url, content):
    """Returns status, body and headers."""
    parts = urllib.parse.urlsplit(url)
    query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
    path = parts.path.removeprefix('/storage.googleapis.com')
    # Names are quoted, so that what they hold is no part of the path.
    names = [urllib.parse.unquote(p) for p in path.strip('/').split('/')]
    if names[0] == 'batch':
      return 200, *self.batch(content)
    where = names[names.index('b') + 1 :]
    store = self.store
    store.requests.append((method, where[2] if len(where) > 2 else url))
    if where[0] != store.bucket:
      raise ApiError(404, 'The specified bucket does not exist.')
    if names[0] == 'upload':
      return self.upload(query, content)
    match method, where[1:]:
      case 'GET', [] if store.closed:
        raise ApiError(403, 'No access to storage.buckets.get.')
      case 'GET', []:
        return 200, {'kind': 'storage#bucket', 'name': store.bucket}
      case 'GET', ['o']:
        return 200, store.list(query)
      case 'GET', ['o', name]:
        found = store.get(name, query, 304)
        if query.get('alt') != 'media':
          return 200, store.describe(name, found)
        return self.media(found)
      case 'DELETE', ['o', name]:
        store.delete(name, query)
        return 204, b''
      case 'POST', ['o', name, 'moveTo', 'o', new]:
        moved = store.write(new, store.get(name, {}).content, query)
        store.delete(name, {})
        return 200, moved
      case 'POST', ['o', name, 'rewriteTo', 'b', _, 'o', new]:
        copied = store.write(new, store.get(name, {}).content, query)
        return 200, {'done': True, 'resource': copied}
    raise ApiError(501, f'{method} {url}')

  def upload(self, query, content):
    kind = query['uploadType']
    if 'upload_id' in query:
      number = query['upload_id']
      length, whole = self.store.go_on(
        number, content, self.headers['Content-Range']
      )
      if whole:
        return 200, whole
      return 308, b'', {'Range': f'bytes=0-{length - 1}'}
    if kind == 'media':
      return 200, self.store.write(query['name'], content, query)
    if kind == 'multipart':
      about, content = _parts(self.headers['Content-Type'], content)
      name = json.loads(about)['name']
      return 200, self.store.write(name, content, query)
    name = query.get('name') or json.loads(content)['name']
    number = self.store.begin(name, query)
    url = f'{self.store.url}{self.path}&upload_id={number}'
    return 200, b'', {'Location': url}

  def media(self, found):
    whole, status = found.content, 200
    headers = {'X-Goog-Generation': str(found.generation)}
    part = whole
    if span := re.fullmatch(
      r'bytes=(\d+)-(\d*)', self.headers.get('Range', '')
    ):
      first, last = span.groups()
      if int(first) >= len(whole):
        raise ApiError(416, 'The range is not satisfiable.')
      part, status = whole[int(first) : int(last or len(whole)) + 1], 206
      end = int(first) + len(part) - 1
      headers['Content-Range'] = f'bytes {first}-{end}/{len(whole)}'
    return status, part, headers

  def batch(self, content):
    answers = []
    for part in _parts(self.headers['Content-Type'], content):
      method, url, _ = part.decode().strip().splitlines()[0].split()
      try:
        status, body, *_ = self.route(method, url, b'')
      except ApiError as error:
        status, body = error.status, _error(error)
      body = body if isinstance(body, bytes) else json.dumps(body).encode()
      answers.append(
        b'\r\n--batch\r\nContent-Type: application/http\r\n\r\n'
        b'HTTP/1.1 %d Answer\r\n\r\n%s' % (status, body)
      )
    headers = {'Content-Type': 'multipart/mixed; boundary=batch'}
    return b''.join([*answers, b'\r\n--batch--']), headers

  def send(self, status, body, headers=None):
    headers = headers or {}
    if not isinstance(body, bytes):
      body = json.dumps(body).encode()
      headers['Content-Type'] = 'application/json'
    self.send_response(status)
    for name, value in headers.items():
      self.send_header(name, value)
    if status not in (204, 304):
      self.send_header('Content-Length', str(len(body)))
    self.end_headers()
    if status not in (204, 304):
      self.wfile.write(body)

  def log_message(self, *unused):
    pass


def _parts(content_type, content):
  """Returns the bodies of the parts of a multipart message."""
  head = f'Content-Type: {content_type}\n\n'.encode()
  message = email.message_from_bytes(head)
  boundary = b'--' + message.get_boundary().encode()
  # Google's own clients part lines by LF, and a content may end in CR.
  line = b'\r\n' if boundary + b'\r\n' in content else b'\n'
  parts = content.split(boundary)[1:-1]
  return [p.partition(line * 2)[2].removesuffix(line) for p in parts]


def _error(error):
  return {'error': {'code': error.status, 'message': error.message}}
