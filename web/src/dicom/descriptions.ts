/**
 * What a series' description says, read as phrases; see `gliomask.io.dicom.descriptions`, whose words these are.
 *
 * `words.json` is written from Python's tables by `scripts/make_web_vectors.py`.
 */

import { pattern } from './patterns'
import table from './words.json'

/** What a description says about contrast agent. */
export type Agent = 'with' | 'without' | 'both' | 'nothing'

export interface Description {
  /** Lower case, words parted by single marks as they were written, what was negated left out. */
  readonly words: string
  readonly agent: Agent
}

const whole = (source: string) => pattern(`^(?:${source})$`)
const { maxLetters } = table
const REWRITTEN = table.rewritten.map(([source, replacement]) => [pattern(source as string, 'g'), replacement as string] as const)
const AGENT = whole(table.agent)
const NATIVE = whole(table.native)
const VISIT = whole(table.visit)
const PLACE = whole(table.place)
const SATURATION = whole(table.saturation)
const [WITH, WITHOUT, NO] = [new Set(table.with), new Set(table.without), new Set(table.no)]
const [BEFORE, AFTER, FILLER] = [new Set(table.before), new Set(table.after), new Set(table.filler)]

/** Reads a description; of a long one only the beginning. */
export function readDescription(text: string): Description {
  let plain = text.slice(0, maxLetters).toLowerCase().normalize('NFKD').replace(/\p{M}/gu, '')
  plain = blanksOnce(plain.replace(/[_^]+/g, ' '))
  for (const [written, replacement] of REWRITTEN) plain = plain.replace(written, replacement)
  const marks = [...plain.matchAll(/[\p{L}\p{N}]+/gu)]
  const { dropped, said } = phrases(marks.map(([token]) => token))
  let kept = plain
  for (const n of [...dropped].sort((a, b) => b - a)) {
    const mark = marks[n] as RegExpMatchArray
    const start = mark.index as number
    kept = kept.slice(0, start) + kept.slice(start + mark[0].length)
  }
  return { words: blanksOnce(kept), agent: agentOf(said) }
}

function blanksOnce(text: string): string {
  return text.split(/\s+/).filter(Boolean).join(' ')
}

/** The places of words that do not count, and what is said about contrast agent. */
function phrases(tokens: readonly string[]): { dropped: Set<number>; said: string[] } {
  const dropped = new Set<number>()
  const said: string[] = []
  let at = 0
  while (at < tokens.length) {
    const token = tokens[at] as string
    const following = next(tokens, at)
    const word = tokens[following] ?? ''
    if (WITHOUT.has(token) || NO.has(token)) {
      dropped.add(at)
      const agent = AGENT.test(word)
      if (agent) said.push('without')
      if (!agent && (!word || PLACE.test(word))) {
        if (WITHOUT.has(token)) said.push('without')
        at++
        continue
      }
      dropped.add(following)
      at = following + 1
      if (['fat', 'water'].includes(word) && SATURATION.test(tokens[at] ?? '')) dropped.add(at++)
    } else if ((BEFORE.has(token) || AFTER.has(token)) && VISIT.test(word)) {
      dropped.add(at).add(following)
      at = following + 1
    } else if (BEFORE.has(token) && AGENT.test(word)) {
      said.push('without')
      dropped.add(at).add(following)
      at = following + 1
    } else {
      if (WITH.has(token) && (!word || PLACE.test(word))) said.push('with')
      said.push(...alone(token))
      at++
    }
  }
  return { dropped, said }
}

function next(tokens: readonly string[], at: number): number {
  let following = at + 1
  while (FILLER.has(tokens[following] ?? '')) following++
  return following
}

function alone(token: string): string[] {
  if (token === 'bothways') return ['both']
  if (token === 'pre') return ['pre']
  if (AFTER.has(token) || AGENT.test(token)) return ['with']
  return NATIVE.test(token) ? ['without'] : []
}

/** A bare `pre` gives way to `post` and to an agent's name; `with` and `without` of an agent contradict each other. */
function agentOf(said: readonly string[]): Agent {
  if (said.includes('both') || (said.includes('with') && said.includes('without'))) return 'both'
  if (said.includes('with')) return 'with'
  return said.length ? 'without' : 'nothing'
}
