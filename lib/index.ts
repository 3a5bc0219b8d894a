/// <reference types="node" preserve="true" />

export { Admin, type AdminEvents, type AdminOptions } from './admin.js'
export {
  type AppInstanceView,
  type AppStatus,
  Apps,
  type AppsEvents,
  type AppsOptions,
  type Pushed
} from './apps.js'
export {
  Consumer,
  type ConsumerConstructor,
  type ConsumerEvents,
  type ConsumerOptions,
  type EntriesOf,
  type EntryFor,
  type Listen
} from './consumer.js'
export type { ConnectOptions, ConsumerEntry, PortlessEntry } from './consumer-entry.js'
export {
  BootstrapNode,
  type BootstrapNodeEvents,
  type BootstrapNodeOptions
} from './core/bootstrap-node.js'
export { SeaportError, type SeaportErrorCode } from './core/errors.js'
export type { Executed } from './core/executed.js'
export { KeyPair } from './core/keys.js'
export type { SetupOptions } from './core/lifecycle.js'
export type { ServiceRole } from './core/role.js'
export type { BalanceMode } from './dialing/balancer.js'
export type { CertificateSource } from './gateway/tls-certificate.js'
export { Host, type HostEvents, type HostOptions } from './host.js'
export type { DirectReach } from './link/direct/address.js'
export type { LinkView, PathView } from './link/pool.js'
export type { CallContext } from './messaging/call-context.js'
export type { Client } from './messaging/clients/client-session.js'
export type {
  Admitted,
  Arrival,
  BroadcastOptions,
  ClientAct,
  ClientsListeners,
  ClientView,
  ConnectHandler,
  MessageHandler,
  Presence
} from './messaging/clients/client-types.js'
export type { Clients, ClientsOptions } from './messaging/clients/clients.js'
export type { CommandMap, Commands, HandleOptions } from './messaging/commands.js'
export {
  type CommandContract,
  type CommandTerms,
  type Contract,
  contract,
  type StandardSchema
} from './messaging/contract.js'
export type {
  Cursors,
  EntryEvents,
  EventListener,
  EventOrigin,
  ListenOptions
} from './messaging/entry-events.js'
export type { EmittedBy, EmittedListener, Events } from './messaging/events.js'
export type { MailMessage } from './messaging/mail/inbox.js'
export type { BoxLimits } from './messaging/mail/letter-box.js'
export type { Mail, MailEvents, MailPeer } from './messaging/mail/mail.js'
export type { MailOptions } from './messaging/mail/mail-options.js'
export type {
  LetterReceipt,
  LetterStatus,
  SendMailOptions,
  SentLetter,
  SentLetterEvents
} from './messaging/mail/sent-letter.js'
export type { Meta } from './messaging/meta.js'
export type { Handler } from './messaging/run.js'
export type { Answer } from './messaging/send-all.js'
export type { SendOptions } from './messaging/sender.js'
export type {
  CopiedEntry,
  EntryState,
  ReadOptions,
  SetOptions,
  StateChange,
  StateChangeListener
} from './messaging/state/entry-state.js'
export type { State, StateEntry, WriteOptions } from './messaging/state/state.js'
export { Peer, type PeerEvents, type PeerOptions } from './peer.js'
export type {
  DirectoryChange,
  DirectoryListener,
  Instance,
  Versions
} from './registry/replica/directory.js'
export type { LogView, RegistrarView } from './registry/replica/known-logs.js'
export type { Limits } from './registry/swarm/limits.js'
export type {
  Deployment,
  Forgotten,
  Grant,
  GrantTerms,
  Revocation,
  ServiceRecord,
  StatementKind,
  Status
} from './registry/trust/signed.js'
export { Registry, type RegistryEvents, type RegistryOptions } from './registry.js'
export { Service } from './service.js'
export type { ServiceEvents, ServiceOptions, ServiceTerms } from './service-options.js'
export type { Health } from './serving/health.js'
export type { StreamServer } from './serving/in-process.js'
export type {
  CommandOrigin,
  OriginOptions,
  PortOrigin,
  ServerOrigin,
  TargetOrigin
} from './serving/origin.js'
export type { Exit } from './serving/supervisor.js'
export {
  type AccessEntry,
  type BrowserLimits,
  type ChannelLimits,
  Web,
  type WebEvents,
  type WebOptions,
  type WebRules
} from './web.js'
