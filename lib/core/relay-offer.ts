import type { SecretStream } from './holepunch.js'

/** A relay that members of a registry may use. */
export interface RelayOffer {
  /** Under which it is called on the DHT. Who knows it may use it. */
  key: Buffer
  /** Where what it passes on comes from. */
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
