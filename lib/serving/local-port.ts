import { LOOPBACK, probeTcpPort } from '../core/listen.js'
import { connectBackend } from './backend.js'
import { leave } from './leave.js'

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
export function freePort(wanted: number): Promise<number> {
  return probeTcpPort(wanted, LOOPBACK)
}
