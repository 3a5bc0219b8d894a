import { existsSync, readFileSync } from 'node:fs'

const TABLE = '/proc/net/tcp'
const ESTABLISHED = '01'
/** How Linux writes that the next timer of a connection is that of its keep-alive. */
const KEEP_ALIVE_TIMER = '02:'

/** Why a test of it cannot run here, if it cannot. */
export const noKeepAliveTable = existsSync(TABLE) ? false : 'only Linux shows the timers of TCP'

/** Whether the kernel keeps the connection alive that has this local port, by IPv4. */
export function isKeptAlive(localPort: number): boolean {
  const port = localPort.toString(16).toUpperCase().padStart(4, '0')
  return readFileSync(TABLE, 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .some(
      ([, local, , state, , timer]) =>
        local?.endsWith(`:${port}`) && state === ESTABLISHED && timer?.startsWith(KEEP_ALIVE_TIMER)
    )
}
