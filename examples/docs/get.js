const answer = await fetch('http://localhost:8080/v1/prices/latest')
console.log(await answer.json())
