declare module 'protomux-rpc' {
  export default class ProtomuxRPC {
    constructor(stream: unknown)
    respond(name: string, handler: (data: Buffer) => Buffer): this
    request(name: string, data: Buffer): Promise<Buffer>
    fullyOpened(): Promise<boolean>
  }
}
