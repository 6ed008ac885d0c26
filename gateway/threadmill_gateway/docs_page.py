"""The page at /docs: the OpenAPI document as readable HTML, without anything from elsewhere."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Threadmill API</title>
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { text-transform: capitalize; margin-top: 2rem; }
details { border: 1px solid #8886; border-radius: .4rem; margin: .4rem 0; padding: .3rem .7rem; }
summary { cursor: pointer; }
summary b { display: inline-block; width: 4.5rem; font-family: ui-monospace, monospace; }
summary code { margin-right: .8rem; }
pre { overflow: auto; max-height: 24rem; background: #8881; padding: .6rem; border-radius: .3rem; font-size: 13px; }
</style>
</head>
<body>
<h1>Threadmill API</h1>
<p>Machine-readable: <a href="openapi.json">openapi.json</a></p>
<main id="operations">Loading …</main>
<script>
const add = (parent, tag, text) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
};
const resolve = (schema, all) => schema && schema.$ref ? all[schema.$ref.split("/").pop()] : schema;
const show = (parent, title, schema) => {
  if (!schema) return;
  add(parent, "h4", title);
  add(parent, "pre", JSON.stringify(schema, null, 2));
};
fetch("openapi.json").then(answer => answer.json()).then(spec => {
  const main = document.getElementById("operations");
  const all = spec.components.schemas;
  const tags = {};
  main.textContent = "";
  for (const [path, methods] of Object.entries(spec.paths))
    for (const [method, operation] of Object.entries(methods))
      (tags[operation.tags[0]] ??= []).push({ path, method, ...operation });
  for (const [tag, operations] of Object.entries(tags)) {
    add(main, "h2", tag);
    for (const operation of operations) {
      const box = add(main, "details");
      const head = add(box, "summary");
      add(head, "b", operation.method.toUpperCase());
      add(head, "code", operation.path);
      add(head, "span", operation.summary);
      add(box, "p", operation.description);
      if (operation.parameters.length) show(box, "Parameters", operation.parameters);
      show(box, "Body", resolve(operation.requestBody?.content["application/json"].schema, all));
      for (const [status, response] of Object.entries(operation.responses)) {
        const schema = Object.values(response.content ?? {})[0]?.schema;
        add(box, "h4", `${status} ${response.description}`);
        if (status < "300" && schema) add(box, "pre", JSON.stringify(resolve(schema, all), null, 2));
      }
    }
  }
});
</script>
</body>
</html>
"""
