import type { KeyPair } from '../../core/keys.js'
import { APP, type AppStatement } from '../trust/app-statement.js'
import {
  isOverruled,
  OVERRULED,
  type OverruledChange,
  type OverruledChanges,
  overruledChange,
  overruledIn,
  signOverruled
} from '../trust/overruled.js'
import type { Statement } from '../trust/statement.js'
import type { Statements } from '../trust/statements.js'

/**
 * Adds to the statements what changes of apps lost against others, before these take their places in the logs.
 *
 * @param registry the registry's own key pair
 * @returns ends it
 */
export function watchOverruled(statements: Statements, registry: KeyPair): () => void {
  return statements.watchMeetings((counts, other) => {
    const { app } = counts as AppStatement | OverruledChanges
    const changes = changesIn(counts, other)
    if (changes.length === 0) return
    const known = statements.get(OVERRULED, app)?.changes ?? []
    const next = overruledIn(known, changes)
    if (JSON.stringify(next) !== JSON.stringify(overruledIn(known, []))) {
      statements.add(signOverruled(registry, app, next))
    }
  })
}

/** What there is to remember when two statements of one subject meet. Another registrar may have seen other changes. */
function changesIn(counts: Statement, other: Statement): readonly OverruledChange[] {
  if (other.type === OVERRULED.type) return (other as OverruledChanges).changes
  if (other.type !== APP.type) return []
  const [winner, loser] = [counts as AppStatement, other as AppStatement]
  return isOverruled(loser, winner) ? [overruledChange(loser, winner)] : []
}
