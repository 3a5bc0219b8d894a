import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { listenError } from '../core/network.js'
import { connectBackend } from './backend.js'
import { leave } from './leave.js'

const LOOPBACK = '127.0.0.1'

/** Whether something takes connections on a port of this machine. */
export async function isListening(port: number): Promise<boolean> {
  try {
    const socket = await connectBackend({ host: LOOPBACK, port })
    leave(socket)
    return true
  } catch {
    return false
  }
}

/**
 * Makes sure that a port of this machine is free, or finds one if it is 0. Another may still be quicker.
 *
 * @throws PORT_IN_USE
 */
export async function freePort(wanted: number): Promise<number> {
  const server = createServer()
  try {
    server.listen(wanted, LOOPBACK)
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  } catch (cause) {
    throw listenError(cause, `port ${wanted} on ${LOOPBACK}`)
  } finally {
    server.close()
  }
}
