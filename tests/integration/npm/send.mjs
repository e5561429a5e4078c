// SPDX-License-Identifier: Apache-2.0
// Sends one push by @parse/node-apn: send.mjs FOLDER_OF_NODE_MODULES JSON. Prints {sent, failed} as JSON.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import path from 'node:path';

const require = createRequire(path.join(process.argv[2], 'package.json'));
const apn = require('@parse/node-apn');
const wanted = JSON.parse(process.argv[3]);
const provider = new apn.Provider({
  token: { key: wanted.key, keyId: wanted.keyId, teamId: wanted.teamId },
  address: wanted.address, port: wanted.port, ca: readFileSync(wanted.ca), connectionRetryLimit: 1, production: true,
});
const note = new apn.Notification({ topic: wanted.topic, pushType: 'voip', priority: 10, expiry: 0 });
note.rawPayload = { aps: {}, call: 'x'.repeat(100) };
const done = [];
for (const token of wanted.devices) {
  const result = await provider.send(note, token);
  done.push(...result.sent.map((s) => ({ device: s.device, status: 200 })),
    ...result.failed.map((f) => ({ device: f.device, status: Number(f.status ?? 0), reason: f.response?.reason ?? String(f.error?.message ?? f.error) })));
}
await provider.shutdown();
console.log(JSON.stringify(done));
