/**
 * Files of lib/ without a test of the same name, by the test that says what they do. test/house.test.ts holds
 * that each file of lib/ has its namesake in test/ or stands here, and that the test loads it.
 */
export const TESTED_BY: Record<string, string[]> = {
  'test/access-table.test.ts': ['registry/trust/rights', 'registry/trust/signed'],
  'test/bin/bootstrap.test.ts': ['core/bootstrap-node'],
  'test/bin/usage.test.ts': ['identity', 'roles', 'options'],
  'test/consumer.test.ts': ['consumer-entry', 'dialing/links', 'registry'],
  'test/registry/trust/instance-rule.test.ts': ['registry/trust/instance-proof'],
  'test/core/metrics.test.ts': ['core/errors'],
  'test/core/race.test.ts': ['core/abort'],
  'test/core/serial-queue.test.ts': ['core/keyed-queue'],
  'test/dialing/dialer.test.ts': ['dialing/instance-stats'],
  'test/dialing/ejection.test.ts': ['dialing/load'],
  'test/gateway/broken-off.test.ts': ['http/http2-end'],
  'test/gateway/conformance.test.ts': [
    'gateway/forwarding',
    'gateway/relay',
    'gateway/upgrade',
    'gateway/request-handler',
    'http/message-head',
    'http/headers',
    'http/date',
    'gateway/fast-path/answer',
    'gateway/fast-path/answer-body',
    'gateway/fast-path/connection',
    'gateway/fast-path/exchange',
    'gateway/fast-path/streams'
  ],
  'test/client/client.test.ts': [
    'client/channel-error',
    'client/node',
    'client/outbox',
    'client/wire',
    'gateway/channels/client-page'
  ],
  'test/gateway/channels/channels.test.ts': [
    'gateway/channels/resume',
    'messaging/clients/client-handlers',
    'messaging/clients/message-body',
    'messaging/clients/session-table',
    'messaging/clients/tickets',
    'messaging/clients/presence-teller',
    'gateway/channels/audience',
    'gateway/channels/channel-limits',
    'gateway/channels/browser',
    'gateway/channels/feed',
    'gateway/channels/principal',
    'gateway/channels/wire',
    'messaging/clients/channel-frames',
    'messaging/clients/channel-ring',
    'messaging/clients/client-session',
    'messaging/clients/client-types',
    'messaging/clients/clients',
    'messaging/clients/close-codes',
    'messaging/clients/rendezvous',
    'messaging/clients/ticket'
  ],
  'test/gateway/host.test.ts': ['gateway/domain-routes'],
  'test/gateway/http-gateway.test.ts': [
    'gateway/access-log',
    'gateway/ledger',
    'gateway/router',
    'gateway/traffic',
    'gateway/upstream',
    'gateway/refusal'
  ],
  'test/gateway/grpc.test.ts': ['gateway/preface', 'http/http2-request'],
  'test/gateway/tls.test.ts': ['gateway/tls-certificate'],
  'test/gateway/host-guard.test.ts': ['web', 'dashboard/pages'],
  'test/heavy/host.test.ts': [
    'dashboard/hosted',
    'hosting/arrivals',
    'hosting/passing-times',
    'host',
    'apps',
    'hosting/app-status',
    'hosting/fleet',
    'hosting/host-agent',
    'hosting/host-control',
    'hosting/hosted-instance',
    'hosting/log-lines',
    'hosting/merge-items'
  ],
  'test/heavy/single.test.ts': ['hosting/single-watch'],
  'test/heavy/app-users.test.ts': ['hosting/driver/app-users'],
  'test/heavy/uses.test.ts': ['hosting/app-terms', 'hosting/app-uses'],
  'test/heavy/updates.test.ts': [
    'hosting/app-environment',
    'hosting/host-judge',
    'hosting/preparer',
    'hosting/retry-pause',
    'hosting/verdicts'
  ],
  'test/messaging/frames.test.ts': ['messaging/body', 'messaging/frame-reader', 'messaging/meta'],
  'test/messaging/sender.test.ts': [
    'core/executed',
    'core/thrown',
    'messaging/call-context',
    'messaging/commands',
    'messaging/contract',
    'messaging/conversation',
    'messaging/conversations',
    'messaging/limits',
    'messaging/names',
    'messaging/nearest',
    'messaging/parked-answers',
    'messaging/responder',
    'messaging/run',
    'messaging/sending',
    'messaging/speaker',
    'messaging/turn'
  ],
  'test/messaging/state/state.test.ts': [
    'messaging/state/ledger',
    'messaging/state/map',
    'messaging/state/stored',
    'messaging/state/write-queue',
    'registry/log/state-files'
  ],
  'test/messaging/state/hand-over.test.ts': [
    'messaging/state/recovery',
    'messaging/state/take-over'
  ],
  'test/messaging/state/hot-swap.test.ts': [
    'hot-swap',
    'messaging/state/newcomer',
    'messaging/state/offering'
  ],
  'test/messaging/state/entry-state.test.ts': [
    'messaging/state/copy',
    'messaging/state/follower',
    'messaging/state/statements'
  ],
  'test/gateway/messages.test.ts': [
    'gateway/event-streams',
    'gateway/origin',
    'messaging/command-measures'
  ],
  'test/heavy/mail-verbs.test.ts': ['folders'],
  'test/heavy/messages-verbs.test.ts': ['messaging/json-lines', 'printing'],
  'test/messaging/events.test.ts': [
    'messaging/entry-events',
    'messaging/event-ring',
    'messaging/subscription'
  ],
  'test/messaging/messages.test.ts': [
    'messaging/consumer-talk',
    'messaging/send-all',
    'messaging/streaming',
    'messaging/talk',
    'serving/admission'
  ],
  'test/messaging/mail/letter.test.ts': ['core/sealed-box'],
  'test/messaging/mail/forwarder.test.ts': [
    'messaging/mail/member-frames',
    'messaging/mail/recent'
  ],
  'test/messaging/mail/inbox.test.ts': [
    'messaging/mail/outbox',
    'messaging/mail/outbox-options',
    'messaging/mail/outbox-slip',
    'messaging/mail/sent-letter'
  ],
  'test/peer.test.ts': [
    'messaging/mail/delivery',
    'messaging/mail/forwarding',
    'messaging/mail/mail',
    'messaging/mail/mail-frames',
    'messaging/mail/mail-options',
    'messaging/mail/mail-stream',
    'messaging/mail/office'
  ],
  'test/messaging/mail/mail-calls.test.ts': [
    'messaging/mail/call-letters',
    'messaging/mail/consumer-mail'
  ],
  'test/messaging/mail/mailbox.test.ts': [
    'messaging/mail/keeping',
    'messaging/mail/kept-letters',
    'messaging/mail/letter-thread',
    'messaging/mail/letter-verifier',
    'messaging/mail/mailbox-stream'
  ],
  'test/messaging/mail/receiver-records.test.ts': [
    'messaging/mail/last-records',
    'messaging/mail/named-mailboxes'
  ],
  'test/messaging/mail/mail-store.test.ts': [
    'core/rocks',
    'messaging/mail/letter-box',
    'messaging/mail/prekeys',
    'messaging/mail/seen-ids'
  ],
  'test/http/agent.test.ts': ['link/socket-duplex'],
  'test/http/fetch.test.ts': ['http/fetch-response', 'http/inflate', 'http/integrity'],
  'test/http/client.test.ts': [
    'http/idempotent',
    'http/idle-streams',
    'http/kept-streams',
    'http/request-body'
  ],
  'test/hosting/app-file.test.ts': ['hosting/app-schema', 'hosting/json-schema'],
  'test/hosting/bundle/chunk-store.test.ts': ['hosting/bundle/chunk'],
  'test/hosting/bundle/pack.test.ts': [
    'hosting/bundle/archive',
    'hosting/bundle/contents',
    'hosting/bundle/groups',
    'hosting/bundle/left-out',
    'hosting/bundle/native',
    'hosting/bundle/pack-memory'
  ],
  'test/hosting/bundle/unpack.test.ts': [
    'hosting/bundle/entry-table',
    'hosting/bundle/link-target'
  ],
  'test/hosting/chunks/chunk-exchange.test.ts': [
    'hosting/chunks/chunk-frames',
    'hosting/chunks/chunk-peer'
  ],
  'test/hosting/driver/process-driver.test.ts': [
    'hosting/driver/cgroups',
    'hosting/driver/driver',
    'core/guard',
    'hosting/driver/handed-environment',
    'hosting/driver/proc'
  ],
  'test/hosting/placement.test.ts': [
    'hosting/eligibility',
    'hosting/placement-view',
    'hosting/room'
  ],
  'test/link/direct/direct.test.ts': [
    'link/direct/connector',
    'link/direct/handshake',
    'link/direct/listener'
  ],
  'test/link/link.test.ts': [
    'link/backlog',
    'link/duplex',
    'link/incoming-stream',
    'link/link-options',
    'link/path',
    'link/sink',
    'link/streams'
  ],
  'test/link/purpose.test.ts': ['link/channel-handshake'],
  'test/private.test.ts': [
    'admin',
    'registry/swarm/denial',
    'registry/trust/grant',
    'registry/trust/grant-expiry'
  ],
  'test/link/pool.test.ts': ['core/relay-offer'],
  'test/link/relay/relay.test.ts': ['core/blind-relay'],
  'test/registry/log/log.test.ts': [
    'registry/log/bee-writer',
    'registry/log/compaction',
    'registry/log/history',
    'registry/log/maintenance'
  ],
  'test/registry/log/own-keys.test.ts': ['registry/log/data-folder'],
  'test/registry/log/snapshots.test.ts': ['registry/trust/snapshot'],
  'test/registry/registrar/lease-expiry.test.ts': [
    'registry/registrar/grace-periods',
    'registry/registrar/outage'
  ],
  'test/registry/registrar/dates.test.ts': ['registry/trust/signed-dates'],
  'test/registry/registrar/registry-mode.test.ts': ['registry/trust/mode'],
  'test/registry/replica/proofs.test.ts': [
    'registry/log/head',
    'registry/replica/own-log-copies',
    'registry/log/memory',
    'registry/replica/recollection',
    'registry/replica/statement-sources',
    'registry/replica/old-logs'
  ],
  'test/registry/registrar/put.test.ts': ['registry/replica/backup'],
  'test/registry/registrar/registrar.test.ts': [
    'registry/registrar/leases',
    'registry/registrar/log-writer',
    'registry/registrar/registrar-options',
    'registry/registrar/published-log',
    'registry/replica/lease'
  ],
  'test/registry/registrar/record-verifier.test.ts': [
    'core/verifier',
    'registry/registrar/record-thread'
  ],
  'test/registry/replica/follower.test.ts': [
    'registry/replica/followers',
    'registry/replica/log-notice',
    'registry/replica/snapshot-candidates'
  ],
  'test/registry/replica/directory.test.ts': ['registry/replica/instance'],
  'test/registry/replica/freshness.test.ts': [
    'registry/replica/known-logs',
    'registry/replica/replica'
  ],
  'test/registry/swarm/hostile.test.ts': ['registry/swarm/peer', 'registry/swarm/protocol'],
  'test/registry/swarm/meeting.test.ts': ['registry/swarm/membership'],
  'test/registry/replica/newcomer.test.ts': [
    'registry/trust/certificate',
    'registry/trust/certificates'
  ],
  'test/registry/trust/app-statement.test.ts': [
    'core/label',
    'registry/trust/drain',
    'registry/trust/forgotten',
    'registry/trust/max-apps'
  ],
  'test/registry/trust/statement-kinds.test.ts': [
    'registry/trust/statement',
    'registry/trust/statement-kind'
  ],
  'test/service.test.ts': [
    'registry/replica/participant',
    'index',
    'serving/leave',
    'serving/listeners',
    'serving/origin',
    'serving/local-port',
    'serving/probe',
    'serving/registration',
    'service-options'
  ],
  'test/heavy/web-credentials.test.ts': ['access-file'],
  'test/heavy/web.test.ts': ['metrics', 'bootstrap']
}
