// What Sphinx's search says of its work, in both languages.
Documentation.addTranslations({
  locale: "zh-en",
  plural_expr: "n === 1 ? 0 : 1",
  messages: {
    "Search Results": "搜索结果 · Search results",
    "Searching": "正在搜索 · Searching",
    "Preparing search...": "准备搜索…… · Preparing search …",
    ", in ": "，在 ",
    "Search finished, found one page matching the search query.": [
      "找到 1 页 · 1 page found",
      "找到 ${resultCount} 页 · pages found",
    ],
    "Your search did not match any documents. Please make sure that all words are spelled correctly and that you've selected enough categories.":
      "什么也没找到：换一个词，中文英文都可以。 Nothing found: try another word, Chinese or English.",
  },
});
