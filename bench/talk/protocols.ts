/** What a server and its clients agree on, whatever carries it. */

/** About 90 bytes as JSON. */
export const PAYLOAD = {
  id: 'b3f1c2d4-aaaa-bbbb-cccc-0123456789ab',
  temperature: 21.5,
  unit: 'C',
  at: 1_764_000_000_000
}

export const ROLE = 'talk'

/** Whom to talk to, as a server prints it and a client is told. */
export interface Contact {
  kind: Kind
  /** A port, or a key in hex. */
  at: string
}

export const KINDS = [
  'plain TCP',
  'protomux-rpc, TCP',
  'protomux-rpc, UDX',
  'NATS micro',
  'hyperseaport, direct',
  'hyperseaport, UDX'
] as const

export type Kind = (typeof KINDS)[number]

/** Somebody who can be talked to. */
export interface Talker {
  /** Sends the payload, and resolves with what came back. */
  echo(data: unknown): Promise<unknown>
  /** Hears events, with a subscription of its own. */
  subscribe(onevent: () => void): Promise<void>
  /** Has so many events told. */
  tell(count: number): Promise<unknown>
}
