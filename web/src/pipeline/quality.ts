/** How far a result can be trusted; see `gliomask.quality` and `gliomask.judgement`. */

import type { Flag } from './checks'
import type { Model, Region } from './model'
import { REGIONS } from './model'
import { REGION_LABELS, regionShare } from './postprocess'

const SMOOTHING_VOXELS = 100
const DOUBTFUL_DICE: Readonly<Record<Region, number>> = { WT: 0.75, TC: 0.6, ET: 0.6 }
const SELF_DOUBT_DICE = 0.8
const REGION_TITLES: Readonly<Record<Region, string>> = { WT: 'whole tumour', TC: 'tumour core', ET: 'enhancing tumour' }

export interface Estimate {
  readonly dice: number
  readonly low: number
  readonly high: number
}

/** Returns the Dice that the network expects a label map to have, by region. */
export function expectedDice(probabilities: Float32Array, labels: Uint8Array): Record<Region, number> {
  const result: Record<Region, number> = { WT: 0, TC: 0, ET: 0 }
  for (const region of REGIONS) {
    const member = [0, 1, 2, 3].map((one) => REGION_LABELS[region].includes(one))
    let [inside, everywhere, voxels] = [0, 0, 0]
    for (let v = 0; v < labels.length; v++) {
      const share = regionShare(probabilities, v, region)
      everywhere += share
      if (!member[labels[v] as number]) continue
      inside += share
      voxels++
    }
    result[region] = diceToExpect(inside, everywhere, voxels)
  }
  return result
}

/** Returns the Dice to expect of one region: sums of its probability inside the predicted region and everywhere, and the region's voxels. */
export function diceToExpect(inside: number, everywhere: number, voxels: number): number {
  return (2 * inside + SMOOTHING_VOXELS) / (everywhere + voxels + SMOOTHING_VOXELS)
}

/** Returns what the network's own expectation is worth, by the lines that were fitted to cross-validated cases. */
export function estimates(expected: Readonly<Record<Region, number>>, quality: NonNullable<Model['quality']>): Record<Region, Estimate> {
  const one = (region: Region): Estimate => {
    const { intercept, slope, below, above } = quality[region]
    const dice = unit(intercept + slope * expected[region])
    return { dice: rounded(dice), low: rounded(unit(dice - below)), high: rounded(unit(dice + above)) }
  }
  return { WT: one('WT'), TC: one('TC'), ET: one('ET') }
}

/** Flags of scans with which no Dice is promised: calibrations come from scans that raise none of them. */
const NOT_AS_CALIBRATED = [
  'skull_on',
  'not_bare',
  'mask_uncertain',
  'sequences_swapped',
  'same_image',
  'no_image',
  'saturated',
  'orientation_wrong',
  'unlike_brain',
  'part_missing',
]

/** Returns the names of the flags that keep a Dice from being promised. */
export function unpromised(flags: readonly Flag[]): string[] {
  return flags.map((flag) => flag.name).filter((name) => NOT_AS_CALIBRATED.includes(name))
}

/** Returns the flags of a result, given those of the scans. */
export function judge(
  labels: Uint8Array,
  scans: readonly Flag[],
  expected: Readonly<Record<Region, number>>,
  found: Readonly<Record<Region, Estimate>> | null,
): Flag[] {
  const flags: Flag[] = []
  if (!labels.some((value) => value !== 0)) {
    const message = 'No tumour was found. The networks were trained on patients who all have one: look at the scans.'
    flags.push({ name: 'nothing_found', message, value: 0, limit: 1 })
  }
  const wrong = unpromised(scans)
  if (wrong.length) {
    const message = `The scans look wrong (${wrong.join(', ')}), so no Dice can be promised. Look at scans and result with care.`
    flags.push({ name: 'doubtful', message, value: 0, limit: 1 })
    return flags
  }
  if (!found) return [...flags, ...selfDoubt(expected.WT)]
  const low = REGIONS.filter((region) => found[region].dice < DOUBTFUL_DICE[region])
  if (!low.length) return flags
  const words = low.map((region) => {
    const { dice, low: least, high } = found[region]
    return `${REGION_TITLES[region]} ${dice.toFixed(2)} (80 % interval ${least.toFixed(2)} to ${high.toFixed(2)})`
  })
  const message =
    `The network doubts its own answer. Dice to be expected: ${words.join(', ')}. ` +
    'Look at the result with care, and at whether the scans are what they should be.'
  const distance = (region: Region) => found[region].dice - DOUBTFUL_DICE[region]
  const worst = low.reduce((one, other) => (distance(other) < distance(one) ? other : one))
  flags.push({ name: 'doubtful', message, value: found[worst].dice, limit: DOUBTFUL_DICE[worst] })
  return flags
}

/** Returns a flag where a network expects little of its own whole tumour: for results that no calibration judges. */
function selfDoubt(dice: number): Flag[] {
  if (dice >= SELF_DOUBT_DICE) return []
  const message =
    `The network doubts its own answer: it expects a Dice of ${dice.toFixed(2)} of its own whole tumour. What that is worth for such a patient ` +
    'was not measured. Look at the result with care, and at whether the scans are what they should be.'
  return [{ name: 'doubtful', message, value: dice, limit: SELF_DOUBT_DICE }]
}

function unit(value: number): number {
  return Math.min(Math.max(value, 0), 1)
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000
}
