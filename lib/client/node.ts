import NodeSocket from 'ws'
import { Client, type ConnectOptions, type SocketLike } from './client.js'

export { ChannelError } from './channel-error.js'
export type { ClientEvents, ConnectOptions, Message, SocketLike } from './client.js'
export { Client } from './client.js'

/**
 * Connects to a service, as a page does: `connect('http://localhost:8080/channel/chat@1.x', { token })`. Several
 * addresses are gateways that lead to the same service: when one is gone, the next is used.
 */
export function connect(urls: string | readonly string[], options: ConnectOptions = {}): Client {
  const WebSocket = NodeSocket as unknown as new (url: string, protocol: string) => SocketLike
  return new Client(urls, { WebSocket, ...options })
}
