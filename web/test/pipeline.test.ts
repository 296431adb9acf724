/** The pipeline's golden pair: a tiny case through the shipped model, against the label map that the Python code makes of it. */

import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, beforeAll, expect, test } from 'vitest'

import { caseOf } from '../src/pipeline/case'
import { ModelError } from '../src/pipeline/errors'
import { brainSamples, checkContrast } from '../src/pipeline/contrast'
import { voxelMl } from '../src/pipeline/grid'
import type { Model } from '../src/pipeline/model'
import { type NiftiVolume, readNifti } from '../src/pipeline/nifti'
import { labelMapFile, measure, reportHtml, runRecord } from '../src/pipeline/results'
import { segment } from '../src/pipeline/segment'
import { PAPER_ORDER, type Sequence } from '../src/pipeline/sequences'
import type { Outline } from '../src/pipeline/shape'
import { openWasm } from '../src/worker/wasm'

const PIPELINE = join(import.meta.dirname, '../vectors/pipeline')
const contrasts = (JSON.parse(readFileSync(join(PIPELINE, '../functions.json'), 'utf8')) as { contrasts: Contrast[] }).contrasts
const PYTHON = process.env['GLIOMASK_PYTHON'] ?? 'python'
const WRITE_MODEL =
  'import sys, pathlib; from gliomask.models.registry import *; from gliomask.web.model import browser_files; ' +
  'folder = pathlib.Path(sys.argv[1]); [(folder / n).write_bytes(c) for n, c in browser_files(load_model(DEFAULT_MODEL)).items()]'

interface Contrast {
  readonly what: string
  readonly order: readonly number[]
  readonly changed: string
  readonly flags: Record<string, string>
}

let folder = ''
let model: Model
let outline: Outline

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'gliomask-model-'))
  execFileSync(PYTHON, ['-c', WRITE_MODEL, folder])
  model = JSON.parse(readFileSync(join(folder, 'model.json'), 'utf8')) as Model
  outline = { bits: new Uint8Array(readFileSync(join(folder, model.outline.file))), shape: [...model.outline.shape], mm: model.outline.mm }
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

async function fetchFile(file: string): Promise<ArrayBuffer> {
  const bytes = readFileSync(join(folder, file))
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer
}

async function read(name: string): Promise<NiftiVolume> {
  return readNifti(name, new Blob([readFileSync(join(PIPELINE, name))]))
}

async function tinyCase(sequences: readonly Sequence[] = PAPER_ORDER) {
  const files = await Promise.all(sequences.map(async (one): Promise<[Sequence, NiftiVolume]> => [one, await read(`tiny_${one}.nii.gz`)]))
  return caseOf('tiny', new Map(files))
}

test('the tiny case gets the label map that Python gives it', async () => {
  const facts = JSON.parse(readFileSync(join(PIPELINE, 'tiny.json'), 'utf8'))
  const engine = await openWasm({ ...model, int8: null }, fetchFile)
  const one = await tinyCase()
  const steps: [number, number][] = []
  const result = await segment(one, model, engine.predict, outline, (done, total) => steps.push([done, total]))
  await engine.close()
  const expected = await read('tiny_seg.nii.gz')
  const other = result.labels.filter((value, v) => value !== expected.values[v]).length
  expect(existsSync(join(PIPELINE, 'tiny_seg.nii.gz'))).toBe(true)
  // 0.1 % of the brain's 57,000 voxels: engines differ in the last bits.
  expect(other).toBeLessThan(57)
  expect(engine.goldenDifference).toBeLessThanOrEqual(model.golden.tolerance)
  expect(Object.fromEntries(result.flags.map((flag) => [flag.name, flag.message]))).toEqual(facts.flags)
  for (const [region, dice] of Object.entries(facts.expected_dice)) {
    expect(result.expectedDice[region as 'WT']).toBeCloseTo(dice as number, 3)
  }
  expect(steps.at(-1)?.[0]).toBe(steps.at(-1)?.[1])
  await downloads(one, result, expected)
})

async function downloads(one: Awaited<ReturnType<typeof tinyCase>>, result: Awaited<ReturnType<typeof segment>>, expected: NiftiVolume) {
  const written = await readNifti('tiny_seg.nii.gz', await labelMapFile(one.header, result.labels, 'brats2023'))
  expect(written.grid).toEqual(expected.grid)
  expect([...written.values]).toEqual([...result.labels])
  const inputs = new Map([['t1', { name: '<i>t1</i>.nii', sha256: '0' }]] as const)
  const facts = { finished: '2026-11-27T00:00:00+00:00', browser: 'b', computing: { provider: 'wasm', precision: 'fp32', threads: 1, goldenDifference: 0, notWebGpu: null }, convention: 'brats2023', inputs } as const
  const record = runRecord(one, model, result, facts)
  expect(record['volumes']).toEqual(measure(result.labels, voxelMl(one.grid)))
  const report = reportHtml(one, model, result, facts)
  expect(report).toContain('&#60;i&#62;t1')
  expect(report).not.toContain('<i>')
}

test.each(contrasts)('contrasts: $what', async ({ order, changed, flags }) => {
  const one = await tinyCase()
  const laid = PAPER_ORDER.map((sequence, n): [Sequence, Float32Array] => [sequence, one.volumes.get(PAPER_ORDER[order[n] as number] as Sequence) as Float32Array])
  const volumes = new Map(laid)
  const [flair, t2] = [volumes.get('flair') as Float32Array, volumes.get('t2') as Float32Array]
  if (changed === 't1') volumes.set('t1', flair.map((value) => 2 * value))
  if (changed === 't2') volumes.set('t2', t2.map((value) => Math.min(value, 200)))
  const found = checkContrast(brainSamples({ ...one, volumes }), brainSamples({ ...one, volumes }, 1))
  expect(Object.fromEntries(found.map((flag) => [flag.name, flag.message]))).toEqual(flags)
})

test('in eight bits the golden pair comes out within its tolerance, and the record names that graph', async () => {
  const int8 = model.int8 as NonNullable<Model['int8']>
  const engine = await openWasm(model, fetchFile)
  await engine.close()
  expect(engine.goldenDifference).toBeGreaterThan(0)
  expect(engine.goldenDifference).toBeLessThanOrEqual(int8.tolerance)
  expect(int8.sha256).not.toBe(model.graph.sha256)
})

test('a model that was altered on its way is refused', async () => {
  const altered = async (file: string) => {
    const bytes = (await fetchFile(file)).slice(0)
    new Uint8Array(bytes)[5000] ^= 1
    return bytes
  }
  await expect(openWasm(model, altered)).rejects.toThrow(ModelError)
})

test('an answer that differs from the golden pair is refused', async () => {
  const strict = { ...model, int8: null, golden: { ...model.golden, tolerance: -1 } }
  await expect(openWasm(strict, fetchFile)).rejects.toThrow(/does not reproduce its golden pair: probabilities differ by up to/)
  const strictInt8 = { ...model, int8: { ...(model.int8 as NonNullable<Model['int8']>), tolerance: 0.0001 } }
  await expect(openWasm(strictInt8, fetchFile)).rejects.toThrow(/in the mean, 0.0001 is allowed/)
})

test('scans with the skull on are refused with the way to go', async () => {
  const one = await tinyCase()
  const head = { ...one, foreground: { ...one.foreground, airs: one.foreground.airs.map((air) => ({ ...air, filled: 0.9 })) } }
  const work = segment(head, model, () => Promise.reject(new Error('must not be asked')), outline)
  await expect(work).rejects.toThrow(/90% of the field of view is not air.*gliomask segment CASE --raw always/)
})

test('a sequence that the model needs is asked for', async () => {
  const one = await tinyCase(['flair', 't1', 't1ce'])
  const work = segment(one, { ...model, mayMiss: [] }, () => Promise.reject(new Error('must not be asked')), outline)
  await expect(work).rejects.toThrow("Case tiny: model 'residual-unet' needs t2; it was not trained to do without.")
})
