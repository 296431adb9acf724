/** The main job: a case and a network in, a label map in the case's own grid out; see `gliomask.segmentation`. */

import { type Case, tissueOf } from './case'
import type { Flag } from './checks'
import { checkCase, refuseNoBrain } from './checks'
import { InputError, ModelError } from './errors'
import { applyTurn, spacingMm, turnToLps, undoTurn } from './grid'
import type { Model, Region } from './model'
import { normalise, VOLUME_BACKGROUND } from './normalise'
import { BACKGROUND, confirmEnhancement, decide, postprocess, type Removed, widenCore } from './postprocess'
import { type Predict, predictBrain, type Prepared } from './predict'
import { type Estimate, estimates, expectedDice, judge, unpromised } from './quality'
import { PAPER_ORDER, type Sequence } from './sequences'
import type { Outline } from './shape'

/** A result, in the grid of the case. */
export interface Segmentation {
  /** Labels 0 to 3, the first axis fastest. */
  readonly labels: Uint8Array<ArrayBuffer>
  readonly flags: readonly Flag[]
  readonly expectedDice: Readonly<Record<Region, number>>
  readonly estimates: Readonly<Record<Region, Estimate>> | null
  readonly removedEnhancement: Removed | null
  readonly widenedCore: boolean
  readonly seconds: Readonly<Record<string, number>>
}

/** What the browser cannot do, and how to get it. */
export const SKULL_ON =
  'The browser segments bare brains only. For scans with the skull on, use the command line: gliomask segment CASE --raw always -o RESULTS ' +
  '(it registers the sequences and takes the skull off).'

/** Segments one case. */
export async function segment(
  one: Case,
  model: Model,
  predict: Predict,
  outline: Outline,
  progress: (done: number, total: number) => void = () => undefined,
): Promise<Segmentation> {
  const without = PAPER_ORDER.filter((sequence) => !one.volumes.has(sequence))
  refuseMissing(one, model, without)
  const seconds: Record<string, number> = {}
  const lap = stopwatch(seconds)
  refuseNoBrain(one, outline)
  const flags = checkCase(one, outline)
  const skull = flags.find((flag) => flag.name === 'skull_on')
  if (skull) throw new InputError(`Case ${one.id}: ${skull.message} ${SKULL_ON}`)
  lap('check')
  const turn = turnToLps(one.grid)
  const brain = applyTurn(turn, one.foreground.mask)
  const prepared = prepare(one, model, turn, brain)
  lap('normalise')
  const probabilities = await predictBrain(prepared, model, model.planes, predict, progress)
  lap('network')
  const { shape } = turn.target
  // In a mean of several views, what is tumour to all may be split between labels, each below background: so it is asked region by region.
  let labels = postprocess(decide(probabilities, model.planes.length > 1), model.postprocess, shape)
  for (let v = 0; v < labels.length; v++) if (!brain[v]) labels[v] = BACKGROUND
  const known = !without.some((sequence) => model.inputs.includes(sequence))
  const widened = known && model.coreRule ? widenCore(labels, probabilities, model.coreRule) : null
  labels = widened ?? labels
  let removedEnhancement: Removed | null = null
  if (model.enhancementRule) {
    ;[labels, removedEnhancement] = confirmEnhancement(labels, probabilities, shape, spacingMm(turn.target), model.enhancementRule)
  }
  lap('postprocess')
  const expected = expectedDice(probabilities, labels)
  const found = known && model.quality && !unpromised(flags).length ? estimates(expected, model.quality) : null
  const all = [...flags, ...judge(labels, flags, expected, found)]
  lap('quality')
  return {
    labels: undoTurn(turn, labels),
    flags: all,
    expectedDice: expected,
    estimates: found,
    removedEnhancement,
    widenedCore: widened !== null,
    seconds,
  }
}

function prepare(one: Case, model: Model, turn: ReturnType<typeof turnToLps>, brain: Uint8Array): Prepared {
  const { faint, notBare } = one.foreground
  const present = [...one.volumes.keys()]
  const channels = model.inputs.map((sequence) => {
    if (!one.volumes.has(sequence)) return new Float32Array(brain.length).fill(VOLUME_BACKGROUND)
    const laid = applyTurn(turn, tissueOf(one, sequence))
    const clean = !faint && !notBare.includes(present.indexOf(sequence))
    return normalise(model.normalisation, clean ? laid : laid.map((value, v) => (brain[v] ? value : 0)), brain)
  })
  return { channels, brain, shape: turn.target.shape, background: VOLUME_BACKGROUND, spacingMm: spacingMm(turn.target) }
}

function refuseMissing(one: Case, model: Model, without: readonly Sequence[]): void {
  const needed = without.filter((sequence) => model.inputs.includes(sequence) && !model.mayMiss.includes(sequence))
  if (needed.length) {
    throw new InputError(
      `Case ${one.id}: model '${model.name}' needs ${[...needed].sort().join(', ')}; it was not trained to do without.`,
    )
  }
  if (model.outputs.join() !== 'background,necrotic,oedema,enhancing') {
    throw new ModelError(`Model '${model.name}' answers with ${model.outputs.join(', ')}, which the browser does not read.`)
  }
}

function stopwatch(seconds: Record<string, number>): (stage: string) => void {
  let last = performance.now()
  return (stage) => {
    const now = performance.now()
    seconds[stage] = Math.round(now - last) / 1000
    last = now
  }
}
