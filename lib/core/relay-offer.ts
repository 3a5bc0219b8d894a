import type { SecretStream } from './holepunch.js'

/** A relay that members of a registry may use. */
export interface RelayOffer {
  /** The relay's public key, under which it is called on the DHT. Whoever knows it may use the relay. */
  key: Buffer
  /** The address that packets which it passes on come from. */
  host: string
  port: number
}

/** Whether what comes on a connection is passed on by a relay. A hole may be punched later, and change that. */
export function isFrom(relay: RelayOffer | undefined, { rawStream }: SecretStream): boolean {
  return (
    relay !== undefined &&
    rawStream?.remoteHost === relay.host &&
    rawStream.remotePort === relay.port
  )
}
