/** What a drop of files and folders holds. */

import { expect, test } from 'vitest'

import { dropped, ofFolder } from '../src/app/dropped'
import { text } from '../src/text/en'

const fileEntry = (name: string) => ({ isFile: true, name, file: (take: (file: File) => void) => take(new File([name], name)) })

/** A folder that hands out its entries two at a time, as browsers do a hundred at a time. */
function folderEntry(name: string, entries: readonly { name: string }[]) {
  return {
    isFile: false,
    name,
    createReader: () => {
      const left = [...entries]
      return { readEntries: (take: (some: unknown[]) => void) => take(left.splice(0, 2)) }
    },
  }
}

const drop = (...entries: unknown[]) =>
  dropped({ items: entries.map((entry) => ({ webkitGetAsEntry: () => entry })), files: [] } as unknown as Pick<DataTransfer, 'items' | 'files'>)

test('a folder gives all its files, in folders of its own too, hidden ones left out', async () => {
  const inner = folderEntry('inner', [fileEntry('c'), fileEntry('a'), fileEntry('.hidden')])
  const { title, files } = await drop(folderEntry('patient', [fileEntry('z'), inner, fileEntry('b'), folderEntry('__MACOSX', [fileEntry('x')])]))
  expect(title).toBe('patient')
  expect(files.map((file) => file.name)).toEqual(['b', 'a', 'c', 'z'])
})

test('several things that are dropped have no name in common', async () => {
  const { title, files } = await drop(fileEntry('a'), fileEntry('b'))
  expect([title, files.length]).toEqual([text.theseFiles, 2])
})

test('folders in folders without end are refused', async () => {
  let deep: { name: string } = fileEntry('deepest')
  for (let n = 0; n < 20; n++) deep = folderEntry(String(n), [deep])
  await expect(drop(deep)).rejects.toThrow(text.tooDeep(12))
})

test('a folder from a dialogue: its name, and no hidden files', () => {
  const file = (path: string) => Object.defineProperty(new File([''], path.split('/').pop() ?? ''), 'webkitRelativePath', { value: path })
  const { title, files } = ofFolder([file('study/a'), file('study/.DS_Store'), file('study/__MACOSX/a')])
  expect(title).toBe('study')
  expect(files.map((one) => one.name)).toEqual(['a'])
})

test('more files than an examination has are refused', () => {
  const many = new Array<File>(50_001).fill(new File([''], 'a'))
  expect(() => ofFolder(many)).toThrow('The folder holds more than 50000 files. Give the folder of one examination.')
})
