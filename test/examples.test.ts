import { resolve } from 'node:path'
import t from 'tap'
import { Cli } from './bin/cli.js'

const PAIR = resolve(import.meta.dirname, '../../examples/one-service-one-consumer')

t.test('the consumer of the example gets its greeting, and both end by themselves', async (t) => {
  const cli = new Cli(t)
  await cli.island()
  const { registryPublicKey } = cli.seed()
  await cli.start([]).waitForLine('registryPublicKey=')

  const service = cli.start([registryPublicKey], { program: resolve(PAIR, 'service.js') })
  await service.waitForLine('helloworld@1.0.0 is registered as ')
  const consumer = await cli.run([registryPublicKey], { program: resolve(PAIR, 'consumer.js') })
  t.match(consumer, { code: 0, stderr: '' })
  t.match(consumer.stdout, /^Hello, World!\nHTTP\/1\.1 200 OK\r?\n.*\nHello, World!\n$/s)
  t.match(await service.kill('SIGINT'), { code: 0, stderr: '' })
})
