import type { AppStatus } from '../../lib/index.js'
import type { Machines } from './machines.js'
import { untilNothing } from './until.js'

/** In ms. */
export const PATIENCE_MS = Number(process.env.PATIENCE ?? 60_000)

/** Until of each app as many run as are wanted, and nothing else, if need be in these places. */
export async function atRest(
  machines: Machines,
  apps: Record<string, number>,
  { places, patience = PATIENCE_MS }: { places?: string[]; patience?: number } = {}
): Promise<number> {
  const missing = async () => {
    for (const [app, wanted] of Object.entries(apps)) {
      const running = (await machines.running(app)).length
      if (running !== wanted) return `${running} of ${wanted} of ${app} run`
      const { passing, instances, silent } = await machines.ask<AppStatus>('status', app)
      const isAtRest = passing === wanted && instances.length === wanted && silent.length === 0
      if (!isAtRest) return `${passing} of ${wanted} of ${app} pass, ${instances.length} are there`
    }
    const now = await placesOf(machines)
    return places && `${now}` !== `${places}` ? `${now} in place of ${places}` : null
  }
  return untilNothing(missing, patience).catch(async (error) => {
    throw new Error(`${error.message}\n${await lastWords(machines, Object.keys(apps))}`)
  })
}

export async function placesOf(machines: Machines): Promise<string[]> {
  return (await machines.running('crew')).map(({ env }) => `${env.APP_HOST}`).sort()
}

/** What each knows, where it does not come to rest. */
async function lastWords(machines: Machines, apps: string[]): Promise<string> {
  const reports = await Promise.all(
    machines.all.map(
      async ({ name, host }) => `${name}: ${JSON.stringify(await host?.ask('report'))}`
    )
  )
  const running = await machines.running()
  const statuses = await Promise.all(apps.map((app) => machines.ask('status', app)))
  return [
    ...reports,
    ...running.map(({ pid, env }) => `${env.APP_NAME} on ${env.APP_HOST}: ${pid}`),
    JSON.stringify(statuses)
  ].join('\n')
}
