/** The browser's pipeline against what the Python code makes of the same inputs (`scripts/make_web_vectors.py`). */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import { describe, expect, test } from 'vitest'

import { findForeground, measureAir, withoutFarAir } from '../src/pipeline/air'
import { type Case, caseOf } from '../src/pipeline/case'
import { checkCase, refuseNoBrain } from '../src/pipeline/checks'
import { InputError } from '../src/pipeline/errors'
import { type Affine, applyTurn, checkedGrid, describeGrid, orientation, type Triple, turnToLps, undoTurn, voxelMl } from '../src/pipeline/grid'
import { withoutNan } from '../src/pipeline/nan'
import { type NiftiVolume, readNifti, writeLabelMap } from '../src/pipeline/nifti'
import { normaliseVolume } from '../src/pipeline/normalise'
import { Sizes } from '../src/pipeline/sizes'
import { confirmEnhancement, postprocess } from '../src/pipeline/postprocess'
import { measure, volumesTsv } from '../src/pipeline/results'
import { PAPER_ORDER, type Sequence, sequenceOfFileName } from '../src/pipeline/sequences'
import { likenessToBrain, orientationMeasures, type Outline } from '../src/pipeline/shape'

const VECTORS = join(import.meta.dirname, '../vectors')
const functions = JSON.parse(readFileSync(join(VECTORS, 'functions.json'), 'utf8'))
const refusals = JSON.parse(readFileSync(join(VECTORS, 'refusals.json'), 'utf8'))
const OUTLINE: Outline = {
  bits: new Uint8Array(readFileSync(join(import.meta.dirname, '../../src/gliomask/preprocess/brain_outline.bin'))),
  shape: [50, 58, 52],
  mm: 4,
}
const floats = (values: (number | null)[]) => Float32Array.from(values, (value) => value ?? NaN)
const bytes = (values: ArrayLike<number>) => Uint8Array.from(values) as Uint8Array<ArrayBuffer>

function close(found: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  expect(found.length).toBe(expected.length)
  let worst = 0
  for (let n = 0; n < found.length; n++) worst = Math.max(worst, Math.abs((found[n] as number) - (expected[n] as number)))
  expect(worst).toBeLessThanOrEqual(tolerance)
}

describe('grids', () => {
  test.each(functions.grids as Record<string, never>[])('$name', ({ affine, orientation: codes, text, voxel_ml, shape, turned, target }) => {
    const grid = checkedGrid([2, 3, 4], affine as unknown as Affine)
    const turn = turnToLps(grid)
    expect(orientation(grid)).toBe(codes)
    expect(describeGrid(grid)).toBe(text)
    expect(voxelMl(grid)).toBeCloseTo(voxel_ml as unknown as number, 12)
    expect(turn.target.shape).toEqual(shape)
    const values = Float32Array.from({ length: 24 }, (_, n) => n)
    expect([...applyTurn(turn, values)]).toEqual(turned)
    expect(undoTurn(turn, applyTurn(turn, values))).toEqual(values)
    close(turn.target.affine.flat(), (target as unknown as number[][]).flat(), 1e-12)
  })
})

test('names of files', () => {
  const found = Object.keys(functions.names).map((stem) => [stem, sequenceOfFileName(stem)])
  expect(Object.fromEntries(found)).toEqual(functions.names)
})

describe('air', () => {
  test.each(functions.airs as Record<string, never>[])('$volumes', (vector) => {
    const { shape } = functions
    const cleaned = (vector.volumes as string[]).map((name) => withoutNan(floats(functions.volumes[name]), shape))
    expect(cleaned.map(([, nan]) => [nan.outside, nan.filled])).toEqual(vector.nan)
    expect(cleaned.map(([volume]) => [...volume])).toEqual(vector.clean)
    const found = findForeground(cleaned.map(([volume]) => volume), shape, 0.001)
    expect([...found.mask]).toEqual(vector.mask)
    expect(found.voxels).toBe((vector.mask as number[]).reduce((a, b) => a + b, 0))
    expect({ notBare: found.notBare, faint: found.faint, unclean: found.unclean }).toEqual({
      notBare: vector.not_bare,
      faint: vector.faint,
      unclean: vector.unclean,
    })
    for (const [n, air] of (vector.airs as { level: number; bright: number; signed: boolean; filled: number }[]).entries()) {
      expect(found.airs[n]?.level).toBe(air.level)
      expect(found.airs[n]?.bright).toBeCloseTo(air.bright, 3)
      expect(found.airs[n]?.signed).toBe(air.signed)
      expect(found.airs[n]?.filled).toBeCloseTo(air.filled, 12)
    }
  })
})

test.each(Object.keys(functions.normalised))('normalised: %s', (name) => {
  close(normaliseVolume(floats(functions.volumes[name]), bytes(functions.brain)), functions.normalised[name], 2e-6)
})

test.each(functions.headers as { what: string; source: string; written: string }[])('header of a label map: $what', ({ source, written }) => {
  const file = writeLabelMap(Uint8Array.from(Buffer.from(source, 'base64')), new Uint8Array(64))
  expect(Buffer.from(file.subarray(0, file.length - 64)).toString('base64')).toBe(written)
})

describe('odd headers are read as Python reads them', () => {
  type Vector = { what: string; file: string; affine: number[][]; written: string; flags: Record<string, string> }
  test.each(functions.odd_headers as Vector[])('$what', async (vector) => {
    const scan = await readNifti('p_flair.nii', new Blob([Buffer.from(vector.file, 'base64')]))
    close(scan.grid.affine.flat(), vector.affine.flat(), 1e-6)
    const file = writeLabelMap(scan.header, new Uint8Array(64))
    expect(Buffer.from(file.subarray(0, file.length - 64)).toString('base64')).toBe(vector.written)
    const four = PAPER_ORDER.map((sequence, n): [Sequence, NiftiVolume] => [sequence, { ...scan, values: scan.values.map((value) => value * (n + 1)) }])
    const flags = checkCase(caseOf('p', new Map(four)), OUTLINE).filter((flag) => flag.name === 'two_orientations')
    expect(Object.fromEntries(flags.map((flag) => [flag.name, flag.message]))).toEqual(vector.flags)
  })
})

test.each(functions.far_airs as { level: number; measured: number; values: number[] }[])('far air: $level', ({ level, measured, values }) => {
  const volume = floats(functions.volumes.clean).map((value) => (value === 0 ? level : value))
  const air = measureAir(volume, functions.shape)
  expect(air.level).toBe(measured)
  expect([...withoutFarAir(volume, air)]).toEqual(values)
})

describe('shapes', () => {
  const { shape, mm } = functions.field as { shape: Triple; mm: number }
  const grid = checkedGrid(shape, [[-mm, 0, 0, 0], [0, -mm, 0, 0], [0, 0, mm, 0]])

  /** A case whose brain is made of ellipsoids, as in the script. */
  function shaped(ellipsoids: readonly number[][]): Case {
    const volumes = PAPER_ORDER.map((): Float32Array => new Float32Array(shape[0] * shape[1] * shape[2]))
    for (let v = 0; v < (volumes[0] as Float32Array).length; v++) {
      const place = [v % shape[0], Math.floor(v / shape[0]) % shape[1], Math.floor(v / (shape[0] * shape[1]))] as Triple
      const [x, y, z] = place.map((at, axis) => (at - (shape[axis] as number) / 2 + 0.5) * mm) as Triple
      const within = ([a = 0, b = 0, c = 0, i = 1, j = 1, k = 1, high = Infinity]: readonly number[]) =>
        ((x - a) / i) ** 2 + ((y - b) / j) ** 2 + ((z - c) / k) ** 2 < 1 && Math.abs(z) < high
      if (!ellipsoids.some(within)) continue
      volumes.forEach((volume, n) => (volume[v] = 100 + ((7 * place[0] + 3 * place[1] + 5 * place[2] + 11 * n * place[0]) % 50)))
    }
    const files = volumes.map((values, n): [Sequence, NiftiVolume] => {
      const name = PAPER_ORDER[n] as Sequence
      return [name, { name, values, grid, header: new Uint8Array(348), sformCode: 1, qformCode: 0, qform: null }]
    })
    return caseOf('shape', new Map(files))
  }

  type Vector = {
    what: string
    ellipsoids: number[][]
    voxels: number
    measures: Record<string, number> | null
    likeness: number | null
    refused: string | null
    flags: Record<string, string>
  }
  test.each(functions.shapes as Vector[])('$what', async (vector) => {
    const one = shaped(vector.ellipsoids)
    const { mask } = one.foreground
    expect(one.foreground.voxels).toBe(vector.voxels)
    const measures = orientationMeasures(mask, grid)
    expect(measures === null).toBe(vector.measures === null)
    for (const [name, value] of Object.entries(vector.measures ?? {})) expect(measures?.[name as 'width']).toBeCloseTo(value, 9)
    const likeness = likenessToBrain(mask, grid, OUTLINE)
    if (vector.likeness === null) expect(likeness).toBeNull()
    else expect(likeness).toBeCloseTo(vector.likeness, 3)
    if (vector.refused === null) expect(refuseNoBrain(one, OUTLINE)).toBeUndefined()
    else expect(await refusal(() => refuseNoBrain(one, OUTLINE))).toBe(vector.refused)
    const flags = checkCase(one, OUTLINE).filter((flag) => ['orientation_wrong', 'unlike_brain'].includes(flag.name))
    expect(Object.fromEntries(flags.map((flag) => [flag.name, flag.message]))).toEqual(vector.flags)
  })
})

describe('gaps', () => {
  test.each(functions.gaps as { what: string; t1: (number | null)[]; flags: Record<string, [string, number]> }[])('$what', (vector) => {
    const grid = checkedGrid(functions.shape, [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])
    const clean = floats(functions.volumes.clean)
    const files = PAPER_ORDER.map((name, n): [Sequence, NiftiVolume] => {
      const values = name === 't1' ? floats(vector.t1) : clean.map((value) => value * (n + 1))
      return [name, { name, values, grid, header: new Uint8Array(348), sformCode: 1, qformCode: 0, qform: null }]
    })
    const flags = checkCase(caseOf('gaps', new Map(files)), OUTLINE).filter(({ name }) => ['nan_is_air', 'nan_filled', 'part_missing'].includes(name))
    expect(Object.fromEntries(flags.map((flag) => [flag.name, [flag.message, flag.value]]))).toEqual(vector.flags)
  })
})

test('sizes of tiles', () => {
  const sizes = new Sizes()
  for (const { wanted, used } of functions.sizes) expect(sizes.of(wanted)).toEqual(used)
})

describe('label maps', () => {
  test.each(functions.label_maps as Record<string, never>[])('post-processing, enhancement and volumes', (vector) => {
    const shape = vector.shape as Triple
    const spacing = vector.spacing_mm as Triple
    const labels = bytes(vector.labels)
    // In Fortran order with the labels' axis first, so that a voxel's four lie together.
    const probabilities = floats(vector.probabilities)
    expect(probabilities.length).toBe(4 * labels.length)
    expect([...postprocess(labels, '3d', shape)]).toEqual(vector['3d'])
    const [confirmed, removed] = confirmEnhancement(labels, probabilities, shape, spacing, { probability: 0.9, seedMl: 0.003 })
    expect([...confirmed]).toEqual(vector.confirmed)
    expect(removed.components).toBe((vector.removed as number[])[0])
    expect(removed.volumeMl).toBeCloseTo((vector.removed as number[])[1] as number, 9)
    expect(volumesTsv(measure(labels, (spacing[0] * spacing[1] * spacing[2]) / 1000))).toBe(vector.tsv)
  })
})

async function refusal(work: () => unknown): Promise<string> {
  try {
    await work()
  } catch (error) {
    expect(error).toBeInstanceOf(InputError)
    return (error as InputError).message
  }
  throw new Error('was not refused')
}

describe('bad input is refused in the words of Python', () => {
  test.each(refusals.files as { what: string; bytes: number; start: string; message: string }[])('$what', async (vector) => {
    const content = new Uint8Array(vector.bytes)
    content.set(Buffer.from(vector.start, 'base64'))
    expect(await refusal(() => readNifti('p_flair.nii', new Blob([content])))).toBe(vector.message)
  })

  type File = { shape: Triple; values: (number | null)[]; affine: Affine }
  test.each(refusals.cases as { what: string; files: Record<string, File>; message: string }[])('$what', async ({ files, message }) => {
    const read = Object.entries(files).map(([sequence, file]): [Sequence, NiftiVolume] => [
      sequence as Sequence,
      {
        name: `p_${sequence}.nii`,
        values: floats(file.values),
        grid: checkedGrid(file.shape, file.affine),
        header: new Uint8Array(348),
        sformCode: 1,
        qformCode: 1,
        qform: null,
      },
    ])
    expect(await refusal(() => caseOf('p', new Map(read)))).toBe(message)
  })
})

test('a gzip stream that ends early is refused', async () => {
  const whole = readFileSync(join(VECTORS, 'pipeline/tiny_t1.nii.gz'))
  const message = await refusal(() => readNifti('p_t1.nii.gz', new Blob([whole.subarray(0, 5000)])))
  expect(message).toMatch(/^p_t1.nii.gz: the gzip stream is truncated or corrupt .* Copy the file again from its source.$/)
})
