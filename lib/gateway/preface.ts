import type { Duplex } from 'node:stream'

/** The first bytes of a client that speaks HTTP/2 in clear text with prior knowledge (RFC 9113 §3.3 and §3.4). */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

export interface PrefaceOptions {
  /** How long a client may take until its protocol is known, in ms. */
  timeout: number
  onhttp1: (connection: Duplex) => void
  onhttp2: (connection: Duplex) => void
}

/** Whether some bytes may be the beginning of the preface. */
export function mayBePreface(bytes: Buffer): boolean {
  const length = Math.min(bytes.byteLength, PREFACE.byteLength)
  return PREFACE.subarray(0, length).equals(bytes.subarray(0, length))
}

/** Finds out which HTTP a client speaks, and hands its connection on from the first byte. */
export function readPreface(connection: Duplex, { timeout, onhttp1, onhttp2 }: PrefaceOptions) {
  let beginning: Buffer = Buffer.alloc(0)
  const stop = () => {
    clearTimeout(timer)
    connection.off('data', ondata)
    connection.off('end', onend)
    connection.off('close', stop)
    connection.off('error', stop)
  }
  const handOn = (read: (connection: Duplex) => void) => {
    stop()
    connection.pause()
    if (beginning.byteLength > 0) connection.unshift(beginning)
    read(connection)
  }
  const onend = () => {
    stop()
    connection.end()
  }
  const ondata = (bytes: Buffer) => {
    beginning = beginning.byteLength === 0 ? bytes : Buffer.concat([beginning, bytes])
    if (!mayBePreface(beginning)) {
      handOn(onhttp1)
      connection.resume()
    } else if (beginning.byteLength >= PREFACE.byteLength) {
      // Over HTTP/2, a client that sends a FIN has left.
      connection.allowHalfOpen = false
      handOn(onhttp2)
    }
  }
  const timer = setTimeout(() => connection.destroy(), timeout)
  connection.on('data', ondata)
  connection.on('end', onend)
  connection.on('close', stop)
  connection.on('error', stop)
  connection.resume()
}
