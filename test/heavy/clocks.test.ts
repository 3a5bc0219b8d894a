import t from 'tap'
import { islandOf, type Listed } from '../bin/island.js'
import { CLOCKS, clockOf } from './fixtures/clocks.js'

for (const [name, offset] of Object.entries(CLOCKS)) {
  t.test(`who has a clock that is ${name} reads and connects like all others`, async (t) => {
    const { cli, start } = await islandOf(t, { private: true })
    const { stdout } = await cli.ask(['key', '-r', 'hello@1.0.0', '-p', `${start.port}`, '--json'])
    const { servicePublicKey } = JSON.parse(stdout)
    await cli.ask(['grant', servicePublicKey, '--serve', 'hello@^1'])
    const service = cli.start(['service', '-p', `${start.port}`, '-r', 'hello@1.0.0'])
    await service.waitForLine('registered service')
    const processKey = JSON.parse((await cli.ask(['key', '--json'])).stdout).processPublicKey
    t.match(await cli.ask(['grant', processKey, '--consume', 'hello@^1']), { code: 0 })

    const nodeFlags = ['--import', clockOf(offset)]
    const listed = await cli.run(['list', '--json'], { nodeFlags })
    t.match(JSON.parse(listed.stdout) as Listed[], [{ role: 'hello', servicePublicKey }])
    const proxy = cli.start(['proxy', '-r', 'hello@1.x', '-p', '0'], { nodeFlags })
    const line = await proxy.waitForLine('proxy from ')
    const answer = await fetch(`http://127.0.0.1:${Number.parseInt(line.trim(), 10)}/`)
    t.equal(answer.status, 200)
    await answer.text()
  })
}
