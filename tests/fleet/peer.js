// SPDX-License-Identifier: Apache-2.0

// An OpAMP agent made of @elastic/opamp-client-node: peer.js URL AUTHORIZATION. It prints what it gets, a line of JSON
// each, says that it applied configuration, and goes on until its standard input ends.
const {createOpAMPClient, AgentCapabilities, RemoteConfigStatuses} = require('@elastic/opamp-client-node');

const [url, authorization] = process.argv.slice(2);
const say = (what) => console.log(JSON.stringify(what));

const client = createOpAMPClient({
    endpoint: url + '/v1/opamp',
    headers: {Authorization: authorization},
    heartbeatIntervalSeconds: 0.2,
    capabilities: AgentCapabilities.AgentCapabilities_AcceptsRemoteConfig
        | AgentCapabilities.AgentCapabilities_ReportsRemoteConfig,
    onMessage: ({remoteConfig}) => {
        if (!remoteConfig)
            return;
        const files = {};
        for (const [name, file] of Object.entries(remoteConfig.config.configMap))
            files[name] = [file.contentType, Buffer.from(file.body).toString()];
        say({config: files});
        client.setRemoteConfigStatus({
            status: RemoteConfigStatuses.RemoteConfigStatuses_APPLIED,
            lastRemoteConfigHash: remoteConfig.configHash,
        });
    },
});

client.setAgentDescription({
    identifyingAttributes: {'service.name': 'node-peer', 'service.version': '0.1.0'},
    nonIdentifyingAttributes: {'os.type': 'linux', 'host.arch': 'amd64', 'host.name': 'node-1', 'affix.label.env': 'node'},
});
client.start();
process.stdin.resume();
process.stdin.on('end', async () => {
    await client.shutdown();
    say({end: true});
    process.exit(0);
});
