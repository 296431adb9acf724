/** The page's own parts: what a device lacks, and the files of a corrected label map. */

import { expect, test } from 'vitest'

import { correctedFiles } from '../src/app/corrected'
import { lacks } from '../src/app/device'
import { Correction } from '../src/edit/history'
import { checkedGrid } from '../src/pipeline/grid'
import { readNifti, writeLabelMap } from '../src/pipeline/nifti'
import { text } from '../src/text/en'

const COMPUTING = { provider: 'wasm', precision: 'fp32', threads: 1, goldenDifference: 0, notWebGpu: null } as const

const desk = { memoryGb: 8, processors: 8, phone: false, webgl: true }

test('a desk lacks nothing; what is not told is not missing', () => {
  expect(lacks(desk)).toEqual([])
  expect(lacks({ ...desk, memoryGb: null, processors: null })).toEqual([])
})

test.each([
  [{ phone: true, processors: 1 }, [text.phone]],
  [{ memoryGb: 2 }, [text.littleMemory(2)]],
  [{ processors: 1 }, [text.oneProcessor]],
  [{ webgl: false }, [text.cannotShow]],
  [{ phone: true, memoryGb: 1, webgl: false }, [text.phone, text.littleMemory(1), text.cannotShow]],
])('what is missing is said: %o', (device, expected) => {
  expect(lacks({ ...desk, ...device })).toEqual(expected)
})

test('label map, volumes, record and report of a corrected case are of the corrected map', async () => {
  const grid = checkedGrid([4, 3, 2], [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])
  const source = new Uint8Array(348)
  const view = new DataView(source.buffer)
  view.setInt32(0, 348, true)
  ;[3, 4, 3, 2, 1, 1, 1, 1].forEach((n, at) => view.setInt16(40 + 2 * at, n, true))
  ;[1, 1, 1, 1].forEach((mm, at) => view.setFloat32(76 + 4 * at, mm, true))
  view.setInt16(254, 1, true)
  ;[1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0].forEach((value, at) => view.setFloat32(280 + 4 * at, value, true))
  source.set(new TextEncoder().encode('n+1'), 344)
  const labels = Uint8Array.from({ length: 24 }, (_, v) => (v < 6 ? 2 : 0))
  const map = { name: 'p_seg.nii.gz', grid, values: labels.slice(), header: source }
  const correction = new Correction(map)
  correction.set('paint', [0, 1, 23], 3)
  const facts = { finished: 'now', browser: 'b', computing: COMPUTING, convention: 'brats2021' as const, inputs: new Map() }
  const estimate = { dice: 0.9, low: 0.8, high: 0.95 }
  const estimates = { WT: estimate, TC: estimate, ET: estimate }
  const result = { labels, flags: [], expectedDice: { WT: 1, TC: 1, ET: 1 }, estimates, removedEnhancement: null, widenedCore: false, seconds: {} }
  const model = { name: 'm', title: 'M', gliomask: '1' }
  const downloads = new Map([['p_run.json', new Blob([JSON.stringify({ case: 'p', expected_dice: { WT: 0.9 }, estimates, volumes: [] })])]])
  const files = await correctedFiles('p', { result, about: { model, facts }, downloads }, correction)
  expect([...files.keys()].every((name) => name.startsWith('p_corrected_'))).toBe(true)

  const written = await readNifti('p', files.get('p_corrected_seg.nii.gz') as Blob)
  expect([...written.values]).toEqual([...labels].map((value, v) => ([0, 1, 23].includes(v) ? 4 : value)))
  expect(writeLabelMap(source, labels).length).toBe(352 + 24)
  const volumes = (await files.get('p_corrected_volumes.tsv')?.text()) ?? ''
  expect(volumes).toContain('label\tenhancing\tenhancing tumour\t3\t')
  expect(volumes).toContain('label\toedema\toedema\t4\t')
  const report = (await files.get('p_corrected_report.html')?.text()) ?? ''
  expect(report).toContain('Corrected by hand')
  expect(report).toContain('oedema to enhancing: 2 voxels, 0.002 ml')
  expect(report).toContain('It cannot be said for a label map that was corrected.')
  expect(report).not.toContain('0.95')
  const record = JSON.parse((await files.get('p_corrected_run.json')?.text()) ?? '')
  expect(record).toMatchObject({ case: 'p', expected_dice: null, estimates: null })
  expect(record.corrected).toContainEqual({ from: 'oedema', to: 'enhancing', voxels: 2, ml: 0.002 })
})
