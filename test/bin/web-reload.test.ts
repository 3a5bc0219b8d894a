import t from 'tap'
import { Cli } from './cli.js'

const CONFIG = `registryPublicKey=${'ab'.repeat(32)}\nbootstrap=127.0.0.1:1\n`

t.test('SIGHUP ends no gateway that looks for its registry', async (t) => {
  const cli = new Cli(t)
  const config = cli.write('web.conf', CONFIG)
  const web = cli.start(['web', '--port', '0', '--config', config])
  await web.waitForLine('connecting to registry ')
  process.kill(web.pid, 'SIGHUP')
  await web.waitForTalk('read the configuration again')
  cli.write('web.conf', `${CONFIG}domain=nonsense\n`)
  process.kill(web.pid, 'SIGHUP')
  await web.waitForTalk('the configuration stays as it was')
  t.equal((await web.kill()).code, 0)
})
