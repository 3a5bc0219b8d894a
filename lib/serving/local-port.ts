import type { SeaportError } from '../core/errors.js'
import { LOOPBACK, LOOPBACK_6, probeTcpPort } from '../core/listen.js'
import { connectBackend, localBackend } from './backend.js'
import { leave } from './leave.js'

/** Whether something takes connections on a port of this machine. */
export async function isListening(port: number): Promise<boolean> {
  try {
    const socket = await connectBackend(localBackend(port))
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
  const port = await probeTcpPort(wanted, LOOPBACK)
  try {
    return await probeTcpPort(port, LOOPBACK_6)
  } catch (error) {
    // Many machines have no IPv6.
    if ((error as SeaportError).code !== 'PORT_IN_USE') return port
    if (wanted === 0) return freePort(0)
    throw error
  }
}
