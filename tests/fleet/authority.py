# SPDX-License-Identifier: Apache-2.0
"""Certificates for tests, by openssl."""

import ssl
import subprocess
import time

SETTINGS = '''[ca]
default_ca=this
[this]
database={0}/index
serial={0}/serial
new_certs_dir={0}
default_md=sha256
policy=any
unique_subject=no
copy_extensions=copy
[any]
organizationName=optional
organizationalUnitName=optional
commonName=supplied
'''


def openssl(*words):
    subprocess.run(['openssl', *map(str, words)], check=True, capture_output=True, timeout=60)


class Authority:
    """A CA and what it signs."""

    def __init__(self, directory, days=2):
        self.directory = directory
        self.certificate = directory / 'ca.pem'
        self.settings = directory / 'ca.conf'
        self.settings.write_text(SETTINGS.format(directory))
        openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', days,
                '-subj', '/CN=test authority', '-keyout', directory / 'ca.key', '-out', self.certificate)

    def sign(self, name, alternative=None, days=(0, 2), before=''):
        """Certificate and key, valid from and to so many days from now; *before* is what its subject has before the name."""
        key, request, made = (self.directory / f'{name}.{kind}' for kind in ('key', 'csr', 'pem'))
        extra = ['-addext', f'subjectAltName={alternative}'] if alternative else []
        openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj', f'{before}/CN={name}',
                *extra, '-keyout', key, '-out', request)
        (self.directory / 'index').write_text('')
        (self.directory / 'serial').write_text(f'{time.time_ns():016x}\n')
        start, end = (time.strftime('%Y%m%d%H%M%SZ', time.gmtime(time.time() + day * 86400)) for day in days)
        openssl('ca', '-batch', '-notext', '-config', self.settings, '-cert', self.certificate, '-keyfile', self.directory / 'ca.key',
                '-in', request, '-startdate', start, '-enddate', end, '-out', made)
        return made, key

    def context(self, pair=None):
        context = ssl.create_default_context(cafile=self.certificate)
        if pair:
            context.load_cert_chain(*pair)
        return context
