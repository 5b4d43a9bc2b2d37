# SPDX-License-Identifier: Apache-2.0
"""An updater that keeps its add-ons in a dictionary, behind the protocol of affix-updater(8).

    with fake_updater.Updater(path) as updater:
        updater.answers['install'] = lambda request, files: {'outcome': 'refused', 'name': 'busy', …}
"""

import hashlib
import json
import os
import socket
import threading
import time


class Updater:
    def __init__(self, path):
        self.path = str(path)
        self.addons = {}     # id: an object of status' data.addons
        self.drifted = {}    # id: items
        self.answers = {}    # verb: function (request, files) → members of the result, or None for the usual
        self.requests = []   # (request, {kind: bytes}), without questions
        self.questions = 0
        self.lock = threading.Condition()

    def __enter__(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind(self.path)
        self.socket.listen(16)
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.socket.close()
        os.unlink(self.path)

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.handle, args=(connection,), daemon=True).start()

    def handle(self, connection):
        with connection:
            header, descriptors, _, _ = socket.recv_fds(connection, 65536, 8)
            if not header:
                return
            request = json.loads(header)
            files = {}
            for kind, descriptor in zip(request.get('fds', []), descriptors):
                with open(descriptor, 'rb') as file:
                    files[kind] = os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)
            result = self.execute(request, files)
            try:
                connection.send(json.dumps({'schema': 1, 'outcome': 'done', 'name': None, 'message': 'done', 'log': None,
                                            'request_id': request.get('request_id'), 'verb': request['verb'],
                                            'id': request.get('id'), 'version': None, 'plan': None, 'data': None,
                                            'time': int(time.time()), **result}).encode())
            except OSError:
                pass

    def execute(self, request, files):
        verb = request['verb']
        special = self.answers.get(verb)
        changed = special(request, files) if special else None
        with self.lock:
            if verb == 'status':
                self.questions += 1
                result = changed or {'data': {'addons': list(self.addons.values())}}
            elif verb == 'drift':
                result = changed or {'data': {'addons': [
                    {'id': name, 'version': addon['version'], 'held': False, 'drifted': name in self.drifted,
                     'items': self.drifted.get(name, [])} for name, addon in self.addons.items()]}}
            else:
                self.requests.append((request, files))
                result = changed or getattr(self, verb)(request, files)
            self.lock.notify_all()
        return result

    def put(self, identifier, version, plan, **members):
        self.addons[identifier] = {
            'id': identifier, 'version': version, 'installed': version is not None, 'state': 'running', 'reason': None,
            'origin': 'fleet', 'held': False, 'hold_reason': None, 'current': {'plan': plan, 'version': version},
            'previous': None, 'older': [], 'quarantine': [], 'transaction': None, 'last_result': None,
            'units': [{'name': f'affix-{identifier}.service', 'active_state': 'active', 'sub_state': 'running',
                       'result': 'success', 'main_pid': 7, 'restarts': 0}], **members}

    @staticmethod
    def plan_of(request, files):
        """What a plan depends on."""
        text = files.get('bundle', b'') + files.get('config', b'') + json.dumps(request.get('limits')).encode()
        return hashlib.blake2b(text + json.dumps(request.get('capabilities')).encode()).hexdigest()

    def install(self, request, files):
        """The bundle of a test says its version in its first line."""
        version = files['bundle'].split(b'\n')[0].decode()
        plan = self.plan_of(request, files)
        self.put(request['id'], version, plan)
        return {'plan': plan, 'version': version}

    def configure(self, request, files):
        addon = self.addons[request['id']]
        plan = hashlib.blake2b(addon['current']['plan'].encode() + files['config']).hexdigest()
        self.put(request['id'], addon['version'], plan)
        return {'plan': plan, 'version': addon['version']}

    def uninstall(self, request, _):
        del self.addons[request['id']]
        return {}

    def repair(self, request, _):
        self.drifted.pop(request['id'], None)
        return {'plan': self.addons[request['id']]['current']['plan']}

    def verbs(self):
        with self.lock:
            return [(request['verb'], request['id']) for request, _ in self.requests]

    def wait(self, condition, seconds=60):
        end = time.monotonic() + seconds
        with self.lock:
            while not condition():
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError(f'not within {seconds} s; requests: {[r for r, _ in self.requests]}')
                self.lock.wait(left)
