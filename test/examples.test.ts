import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import t from 'tap'
import { readAppFile } from '../lib/hosting/app-file.js'
import { ChunkStore } from '../lib/hosting/bundle/chunk-store.js'
import { packFolder } from '../lib/hosting/bundle/pack.js'
import { freePort, isListening } from '../lib/serving/local-port.js'
import { aFolder } from './hosting/bundle/folders.js'

const HELLO = resolve(import.meta.dirname, '../../examples/hello-world-app')

t.test(
  'the app of the example is an app: its file is read, it is packed whole, and it answers and ends as asked',
  async (t) => {
    const file = await readAppFile(HELLO)
    t.match(file, { name: 'hello-world', command: ['node', 'server.js'], check: 'http:/health' })
    const store = new ChunkStore(await aFolder(t), { minFree: 0 })
    const { files, leftOut, platforms } = await packFolder(HELLO, { store })
    t.match({ files, leftOut, platforms }, { leftOut: [], platforms: null })

    const port = await freePort(0)
    const env = { PATH: process.env.PATH, PORT: String(port), APP_VERSION: '1.0.0' }
    const [program = '', ...args] = file.command
    const app = spawn(program, args, { cwd: HELLO, env, stdio: 'ignore' })
    t.teardown(() => app.kill('SIGKILL'))
    const exit = once(app, 'exit')
    while (!(await isListening(port))) await new Promise((resolve) => setTimeout(resolve, 20))
    const url = `http://127.0.0.1:${port}`
    t.equal(await (await fetch(url)).text(), 'Hello, World! from 1.0.0, here on this\n')
    t.ok((await fetch(`${url}/health`)).ok)
    app.kill('SIGTERM')
    t.same(await exit, [0, null])
  }
)
