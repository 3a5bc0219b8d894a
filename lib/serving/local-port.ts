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
 * Makes sure that a port of this machine is free, or finds a free one for 0. Another process may still take it before
 * its user does.
 *
 * @throws PORT_IN_USE
 */
export async function freePort(wanted: number): Promise<number> {
  const port = await probeTcpPort(wanted, LOOPBACK)
  try {
    return await probeTcpPort(port, LOOPBACK_6)
  } catch (error) {
    // Any other error means that this machine has no IPv6, as is common.
    if ((error as SeaportError).code !== 'PORT_IN_USE') return port
    if (wanted === 0) return freePort(0)
    throw error
  }
}
