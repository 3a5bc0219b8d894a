/** Why a message or command failed. Its `code` is stable. */
export class ChannelError extends Error {
  readonly code: string

  constructor(code: string, text: string) {
    super(`${code}: ${text}`)
    this.name = 'ChannelError'
    this.code = code
  }
}
